"""Langevin dynamics on a quadratic energy, where all is known, and the energy-based model against its formula."""

import pytest
import torch
from torch import Tensor, nn

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.diffusion.langevin import excess, langevin, slope_of, temperature
from zeuxis.errors import UsageError
from zeuxis.game import Turn
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.energy.ebm import EBM

SMALL = Shape(1, 8, 8)
CHAINS = 40_000


def model(**config: float) -> EBM:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return EBM(SMALL, width=8, **config)


def flat(**config: float) -> EBM:
    """An energy that is the same everywhere: nothing but noise moves a chain."""
    made = model(**config)
    for p in made.parameters():
        nn.init.zeros_(p)
    return made


def turn_of(image: Tensor, seed: int = 0) -> Turn:
    return Turn(Batch(image), Stream(seed), 0, 0.0)


@pytest.mark.parametrize(("rate", "noise"), [(0.02, 0.2), (1.0, 1.0), (3.0, 0.5)])
def test_a_quadratic_energy_has_the_stationary_mean_and_variance_of_the_walk(rate, noise):
    mean, variance = 1.5, 2.0
    x = langevin(
        lambda x: (x - mean) / variance, torch.zeros(CHAINS, 1), Stream(0), steps=int(12 / rate) + 12,
        rate=rate, noise=noise,
    )  # fmt: skip
    expected = temperature(rate, noise) * variance * excess(rate, variance)
    kept = 1 - rate / variance
    assert expected == pytest.approx(kept**2 * expected + noise**2)  # the walk leaves it as it is
    assert float(x.mean()) == pytest.approx(mean, abs=4 * (expected / CHAINS) ** 0.5 + 1e-3)
    assert float(x.var()) == pytest.approx(expected, rel=4 * (2 / CHAINS) ** 0.5)


def test_small_steps_of_temperature_one_are_the_textbooks_and_nearly_exact():
    epsilon = 0.1
    assert temperature(epsilon**2 / 2, epsilon) == pytest.approx(1)
    assert 1 < excess(epsilon**2 / 2, 1.0) < 1.003
    assert excess(1.0, 1.0) == 2  # each step forgets the last: noise^2 = 2 T


def test_without_noise_it_is_gradient_descent_and_stays_within_bounds():
    start = torch.linspace(-2, 2, 9)[:, None]
    free = langevin(lambda x: x, start, Stream(0), steps=5, rate=0.25, noise=0.0)
    torch.testing.assert_close(free, 0.75**5 * start)
    held = langevin(lambda x: -x, start, Stream(0), steps=20, rate=0.25, noise=0.0, within=0.5)
    torch.testing.assert_close(held, 0.5 * start.sign())


def test_the_slope_is_the_energys_derivative_whether_or_not_gradients_are_on():
    weight = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    x = Stream(0).normal(4, 3)
    slope = slope_of(lambda x: (weight * x.pow(3)).sum(1))
    expected = (3 * weight * x.square()).detach()
    torch.testing.assert_close(slope(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(slope(x), expected)
    with torch.inference_mode():
        torch.testing.assert_close(slope(x.clone()), expected)
    assert weight.grad is None and not slope(x).requires_grad


@pytest.mark.parametrize("energy_l2", [0.0, 0.3])
def test_the_gradient_is_the_contrastive_one(energy_l2):
    n = 6
    ebm = model(chains=n, data_noise=0.0, energy_l2=energy_l2, steps=3)
    with torch.no_grad():
        ebm.energy.layers[-1].weight.mul_(20)  # slopes that move the chains
    data, before = Stream(1).uniform(n, *SMALL) * 2 - 1, ebm.chains.clone()
    ebm.contrastive_loss(turn_of(data)).backward()
    assert (ebm.chains - before).abs().mean() > 0.02  # the chains' ends: the round took up all of them
    trained = [p for p in ebm.energy.parameters() if p.requires_grad]  # without energy_l2 all but the offset
    found = [p.grad.clone() for p in trained]
    expected = [torch.zeros_like(p) for p in trained]
    for sign, pictures in ((1, data), (-1, ebm.chains)):
        for picture in pictures:
            energy = ebm.energy(picture[None]).squeeze()
            for total, g in zip(expected, torch.autograd.grad(energy, trained), strict=True):
                total += (sign + 2 * energy_l2 * energy.detach()) * g / n  # dE+ - dE-, and 2 alpha E dE of both
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_chains_go_on_but_for_the_share_that_begins_again():
    ebm = flat(chains=3000, restart=0.2, steps=2, noise=0.0)
    ebm.chains.fill_(0.25)
    ebm.contrastive_loss(turn_of(torch.zeros(2000, *SMALL)))
    again = (ebm.chains != 0.25).flatten(1).any(1)
    assert float(again.sum()) == pytest.approx(400, abs=4 * (2000 * 0.2 * 0.8) ** 0.5)
    restarted = ebm.chains[again]
    assert float(restarted.mean()) == pytest.approx(0, abs=0.02)
    assert float(restarted.var()) == pytest.approx(1 / 3, abs=0.01)  # uniform in [-1, 1]


def test_all_the_others_stay_where_they_were():
    ebm = flat(chains=50, restart=1.0, noise=0.0)
    before = ebm.chains.clone()
    ebm.contrastive_loss(turn_of(torch.zeros(20, *SMALL)))
    assert int((ebm.chains != before).flatten(1).any(1).sum()) == 20  # each at most once


def test_without_kept_chains_all_begin_at_noise():
    ebm = flat(noise=0.0)
    turn = turn_of(torch.zeros(4, *SMALL))
    ebm.contrastive_loss(turn)
    assert len(ebm.chains) == 0 and float(turn.notes["distance"]) == 0


def test_noise_is_added_to_the_data_which_stay_pictures():
    seen = []
    ebm = flat(data_noise=0.5, steps=1)
    ebm.energy.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    ebm.contrastive_loss(turn_of(torch.zeros(200, *SMALL)))
    data = seen[-2]  # before the chains' ends
    assert data.abs().max() == 1
    assert float((data.abs() < 1).float().mean()) == pytest.approx(0.9545, abs=0.01)  # within two deviations


def test_samples_are_chains_from_noise_as_long_as_training_ran_them():
    still = flat(noise=0.0)
    start = still.sample(Condition(), ImageRng.counting(3, 4), Sampling(steps=7))
    torch.testing.assert_close(start, 2 * ImageRng.counting(3, 4).uniform(4, *SMALL) - 1)
    short, kept = model(steps=8, noise=0.05), model(steps=8, noise=0.05, chains=10, restart=0.25)
    kept.load_state_dict(short.state_dict() | {"chains": kept.chains})
    assert (short.length, kept.length) == (8, 32)
    own = [made.sample(Condition(), ImageRng([5])) for made in (short, kept)]
    others = [other.sample(Condition(), ImageRng([5]), Sampling(steps=k)) for other, k in ((kept, 8), (short, 32))]
    assert torch.equal(own[0], others[0]) and torch.equal(own[1], others[1])


@pytest.mark.parametrize("chains", [0, 64])
def test_it_learns_a_picture(chains):
    """Left half light, right half dark: chains that start at noise come to it."""
    expected = torch.cat([torch.full((1, 8, 4), 0.6), torch.full((1, 8, 4), -0.6)], 2)
    ebm = model(steps=10, chains=chains, restart=0.2)
    optimiser = torch.optim.Adam(ebm.parameters(), lr=4e-3)
    for k in range(60):
        loss = ebm.contrastive_loss(turn_of(expected.expand(16, -1, -1, -1), k))
        optimiser.param_groups[0]["lr"] = 4e-3 * (1 - k / 60)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.inference_mode():
        made = ebm.sample(Condition(), ImageRng.counting(0, 16))
    start = 2 * ImageRng.counting(0, 16).uniform(16, *SMALL) - 1
    assert (start - expected).square().mean() > 0.6
    assert (made - expected).square().mean() < 0.3


def test_misuse_is_explained():
    for wrong in ({"steps": 0}, {"rate": 0.0}, {"noise": -1.0}, {"chains": -1}, {"restart": 0.0}, {"energy_l2": -1.0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            model(**wrong)
