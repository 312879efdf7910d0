"""The Boltzmann machine against sums over all its states, which a small one allows."""

import math

import pytest
import torch
from torch import Tensor

from zeuxis.api.collectors import Chunk, Likelihoods
from zeuxis.api.model import Model
from zeuxis.batch import Batch, Condition, Shape
from zeuxis.errors import UsageError
from zeuxis.game import Turn
from zeuxis.knobs import Sampling
from zeuxis.metrics.table import Evidence, measure
from zeuxis.nn.boltzmann import binarise
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.energy.rbm import RBM

SMALL = Shape(1, 2, 4)  # 8 pixels: 256 pictures


def machine(hidden: int = 6, strength: float = 0.8, **config: int) -> RBM:
    model = RBM(SMALL, hidden=hidden, **config)
    with torch.no_grad():
        for k, p in enumerate(model.parameters()):
            p.copy_(strength * Stream(k, "rbm").normal(*p.shape))
    return model.eval()


def pictures() -> Tensor:
    """All of them, ``(256, 1, 2, 4)``."""
    bits = (torch.arange(256)[:, None] >> torch.arange(8)) & 1
    return (2.0 * bits - 1).view(-1, *SMALL)


@pytest.mark.parametrize("hidden", [0, 1, 6])
def test_probabilities_of_all_pictures_sum_to_one(hidden):
    with torch.no_grad():
        total = machine(hidden).log_prob(pictures(), Stream(0)).double().logsumexp(0)
    assert abs(float(total)) < 1e-5


def test_the_free_energy_sums_over_the_hidden_units():
    model = machine(3)
    v = binarise(pictures())
    states = ((torch.arange(8)[:, None] >> torch.arange(3)) & 1).float()  # every h
    joint = v @ model.machine.bias[:, None] + (v @ model.machine.weight + model.machine.hidden_bias) @ states.T
    torch.testing.assert_close(-model.machine.free_energy(v), joint.logsumexp(1), rtol=1e-5, atol=1e-5)


def test_annealing_finds_the_exact_partition_function():
    model = machine(10)
    found = model.machine.annealed(300, 50, 8, Stream(1))
    assert abs(found.value - model.machine.enumerated()) < 0.05
    assert found.spread is not None and 0 < found.spread < 0.2


def test_more_annealings_come_as_close_as_their_spread_says() -> None:
    """Few temperatures on a strong machine; as many chains either way, cut into few or many annealings."""
    model = machine(10, strength=1.2)
    exact = model.machine.enumerated()
    small, large = (model.machine.annealed(4, runs, 1600 // runs, Stream(0)) for runs in (4, 64))
    assert small.spread is not None and large.spread is not None
    assert small.spread / large.spread == pytest.approx(4, rel=0.5)  # as the square root of the chains
    assert small.value == pytest.approx(large.value, abs=1e-9), "the mean is over all chains, however they are cut"
    assert abs(small.value - exact) < 4 * small.spread / 400**0.5
    assert model.machine.annealed(4, 4, 1, Stream(0)).spread is None


def test_the_likelihood_is_published_with_its_spread() -> None:
    """Above 16 hidden units Z is annealed, and nll has the spread of it; below it is exact and has none."""
    annealed, exact = RBM(SMALL, hidden=17, temperatures=20, runs=4, repeats=3), machine(6)
    for model, estimated in ((annealed, True), (exact, False)):
        seen = Likelihoods(Model("", model, {}), seed=0)
        with torch.no_grad():
            seen.add(Chunk(Batch(pictures()[:5]), None))
            (figure,) = measure(["nll"], Evidence(**seen.evidence()))
            mean = -float(model.log_prob(pictures()[:5], Stream(0)).mean())
        assert figure.value == pytest.approx(mean, rel=1e-5)
        assert figure.spread == (model.log_z().spread if estimated else None)
    assert annealed.log_z().spread is not None


def test_without_hidden_units_it_is_independent_pixels():
    model = machine(0)
    assert model.machine.enumerated() == pytest.approx(
        float(torch.nn.functional.softplus(model.machine.bias.detach()).sum()), abs=1e-5
    )
    p = model.machine.bias.sigmoid()
    v = binarise(pictures())
    expected = (v * p.log() + (1 - v) * (1 - p).log()).sum(1)
    torch.testing.assert_close(model.log_prob(pictures(), Stream(0)), expected, rtol=1e-4, atol=1e-4)


def test_the_gradient_is_that_of_contrastive_divergence():
    model = machine(5)
    turn = Turn(Batch(pictures()[:40]), Stream(3), 0, 0.0)
    loss = model.contrastive_divergence(turn)
    loss.backward()
    data, chain = binarise(pictures()[:40]), turn.memo["chain"]
    with torch.no_grad():
        positive = data.T @ model.encode(pictures()[:40]) / 40
        negative = chain.T @ model.machine.upward(chain).sigmoid() / 40
    torch.testing.assert_close(model.machine.weight.grad, negative - positive, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.machine.bias.grad, (chain - data).mean(0), rtol=1e-4, atol=1e-5)


def test_chains_visit_pictures_as_often_as_they_are_likely():
    model = machine(4, strength=0.6)
    with torch.no_grad():
        v = binarise(pictures()).repeat(40, 1)
        rng = Stream(5)
        for _ in range(60):
            v = model.machine.step(v, rng)
        found = torch.bincount((v.long() << torch.arange(8)).sum(1), minlength=256) / len(v)
        expected = model.log_prob(pictures(), Stream(0)).exp()
    assert (found - expected).abs().sum() / 2 < 0.08  # total variation; chance alone gives about 0.05
    assert (torch.full((256,), 1 / 256) - expected).abs().sum() / 2 > 0.25


@pytest.mark.parametrize("particles", [0, 64])
def test_it_learns_a_distribution(particles):
    """Two stripes and their negatives: four pictures of equal probability."""
    stripes = torch.tensor([[1, 1, 0, 0, 1, 1, 0, 0], [1, 0, 1, 0, 1, 0, 1, 0]]).float()
    known = torch.cat([stripes, 1 - stripes]) * 2 - 1
    model = RBM(SMALL, hidden=8, gibbs=5, particles=particles)
    with torch.no_grad():
        model.machine.weight.copy_(0.1 * Stream(0).normal(8, 8))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for k in range(600):
        image = known[Stream(k, "batch").integers(4, 64)].view(-1, *SMALL)
        turn = Turn(Batch(image), Stream(k), k, k / 600)
        loss = model.contrastive_divergence(turn)
        optimiser.param_groups[0]["lr"] = 0.03 * (1 - k / 600)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            model.after_round(turn)
    with torch.no_grad():
        nats = model.log_prob(known.view(-1, *SMALL), Stream(0)).mean()
    assert nats > -2.2  # log(1/4) is -1.39; independent pixels reach -5.5


def test_it_begins_with_the_means_of_the_data_and_only_once():
    model = RBM(SMALL, hidden=3, particles=16)
    image = pictures()[:7]  # pixels 3 to 7 are black in all of them, which no log-odds can say
    model.contrastive_divergence(Turn(Batch(image), Stream(0), 0, 0.0))
    share = binarise(image).mean(0).clamp(0.02, 0.98)
    torch.testing.assert_close(model.machine.bias.detach().sigmoid(), share)
    model.contrastive_divergence(Turn(Batch(-image), Stream(0), 1, 0.1))
    torch.testing.assert_close(model.machine.bias.detach().sigmoid(), share)
    again = RBM(SMALL, hidden=3, particles=16)
    again.load_state_dict(model.state_dict())
    again.contrastive_divergence(Turn(Batch(-image), Stream(0), 1, 0.1))
    assert torch.equal(again.machine.bias, model.machine.bias), "a training that goes on does not begin again"


def test_chains_go_on_from_where_they_were_left():
    model = machine(4, particles=16)
    turn = Turn(Batch(pictures()[:20]), Stream(2), 0, 0.0)
    model.contrastive_divergence(turn)
    assert not model.machine.chains.any(), "they move when the round is over, and not before"
    model.after_round(turn)
    assert torch.equal(model.machine.chains, turn.memo["chain"]) and turn.memo["chain"].shape == (16, 8)
    without = machine(4)
    turn = Turn(Batch(pictures()[:20]), Stream(2), 0, 0.0)
    without.contrastive_divergence(turn)
    without.after_round(turn)
    assert turn.memo["chain"].shape == (20, 8) and without.machine.chains.shape == (0, 8)


def test_log_z_is_computed_once_for_each_state_of_the_parameters():
    model = machine(4)
    first = model.log_z().value
    assert model.log_z().value == first and model.cached_log_z is not None
    with torch.no_grad():
        model.machine.bias.add_(1.0)
    assert model.log_z().value > first + 0.5


def test_samples_follow_their_seeds():
    model = machine(6)
    with torch.no_grad():
        many = model.sample(Condition(), ImageRng.counting(0, 5), Sampling(steps=20))
        alone = model.sample(Condition(), ImageRng([3]), Sampling(steps=20))
        rebuilt = model.decode(model.encode(many))
    torch.testing.assert_close(alone, many[3:4], rtol=0, atol=1e-6)
    assert many.shape == (5, *SMALL) and many.abs().max() <= 1 and rebuilt.shape == many.shape
    assert many.unique().tolist() == [-1.0, 1.0] and not torch.equal(many[0], many[1])


def test_misuse_is_explained():
    with pytest.raises(UsageError, match="gibbs"):
        RBM(SMALL, gibbs=0)
    with pytest.raises(UsageError, match="repeats=0"):
        RBM(SMALL, repeats=0)
    assert math.isfinite(machine(6).log_z().value)
