"""Options of flow matching: how noise and pictures are paired, a guide of its own, a loss that keeps features apart."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.diffusion.coupling import assignment, optimal_transport
from zeuxis.diffusion.guidance import autoguided
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.game import Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.dispersive import dispersive
from zeuxis.nn.watched import watched
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.diffusion.flow_matching import FlowMatching

SHAPE = Shape(1, 8, 8)
DIT = {"kind": "dit", "width": 16, "depth": 2, "heads": 2}
UNET = {"kind": "unet", "width": 8, "multiples": (1, 2), "blocks": 1, "attention": ()}
UVIT = {"kind": "uvit", "patch": 4, "fine": 8, "fine_depth": 1, "width": 16, "depth": 1, "heads": 2}


def turn(x: Tensor, progress: float = 0.0, condition: Condition = Condition()) -> Turn:
    return Turn(Batch(x, condition), Stream(1), 0, progress)


def stirred(**how: object) -> FlowMatching:
    torch.manual_seed(0)
    flow = FlowMatching(SHAPE, **{"network": DIT, **how})  # type: ignore[arg-type]
    with torch.no_grad():
        for k, p in enumerate(flow.network.parameters()):
            p.copy_(0.2 * Stream(k).normal(*p.shape))
    return flow


# -- predicting the noise ---------------------------------------------------------------------------------------


class KnowsTheNoise(torch.nn.Module):
    """The noise under one picture."""

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        self.picture = picture

    def forward(self, x: Tensor, time: Tensor, **conditioning: Tensor) -> Tensor:
        t = (time / 1000).view(-1, 1, 1, 1)
        return (x - (1 - t) * self.picture) / t


def test_the_right_noise_has_no_loss_and_is_the_right_denoiser() -> None:
    flow, picture = FlowMatching(SHAPE, network=DIT, predicts="epsilon"), Stream(0).uniform(1, *SHAPE)
    flow.network = KnowsTheNoise(picture)  # type: ignore[assignment]
    assert flow.match(turn(picture.expand(16, -1, -1, -1))) < 1e-6
    for t in (0.2, 0.6, 0.9):
        x = (1 - t) * picture + t * Stream(1).normal(1, *SHAPE)
        torch.testing.assert_close(flow.denoise(x, t, {}), picture, rtol=0, atol=1e-4)
        torch.testing.assert_close(flow.denoise(x, torch.tensor([t]), {}), picture, rtol=0, atol=1e-4)
    noise = Stream(2).normal(1, *SHAPE)
    assert torch.isfinite(flow.denoise(noise, 1.0, {})).all()


# -- coupling ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 40])
@pytest.mark.parametrize("ties", [False, True])
def test_an_assignment_costs_what_the_best_one_does(n: int, ties: bool) -> None:
    optimise = pytest.importorskip("scipy.optimize")
    for seed in range(5):
        cost = Stream(seed).uniform(n, n).double().numpy() * 10 - 3
        cost = cost.round() if ties else cost
        found = assignment(cost)
        rows, columns = optimise.linear_sum_assignment(cost)
        assert sorted(found) == list(range(n))
        assert cost[range(n), found].sum() == pytest.approx(cost[rows, columns].sum())


def test_near_pairs_hold_every_noise_once_and_keep_each_picture_s_place() -> None:
    image = 3 * Stream(0).normal(16, *SHAPE)
    hidden = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    noise = (image + 0.01 * Stream(1).normal(16, *SHAPE))[hidden]
    found = optimal_transport(image, noise)
    torch.testing.assert_close(found, image, rtol=0, atol=0.1)
    drawn = Stream(2).normal(16, *SHAPE)
    paired = optimal_transport(image, drawn)
    assert torch.equal(paired.flatten().sort().values, drawn.flatten().sort().values)
    assert (image - paired).square().sum() < (image - drawn).square().sum()


def test_coupling_by_default_changes_nothing_and_the_other_pairs_what_is_near() -> None:
    image = Stream(3).normal(12, *SHAPE)
    plain = stirred().match(turn(image))
    assert torch.equal(plain, stirred(coupling="independent").match(turn(image)))
    assert not torch.equal(plain, stirred(coupling="ot").match(turn(image)))
    with pytest.raises(UnknownName, match="independent"):
        FlowMatching(SHAPE, network=DIT, coupling="independant")  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match="no longer be normal"):
        FlowMatching(SHAPE, network=DIT, coupling="ot", condition="label", classes=2)


def test_of_two_points_the_coupled_flow_is_straight() -> None:
    """Pictures at -m and m, coupled in a large batch: a noise on one side goes to the picture of that side."""
    image = torch.cat([torch.full((64, 1, 1, 1), -2.0), torch.full((64, 1, 1, 1), 2.0)])
    noise = optimal_transport(image, Stream(0).normal(128, 1, 1, 1))
    assert noise[:64].max() <= noise[64:].min()


# -- autoguidance -----------------------------------------------------------------------------------------------


def test_autoguidance_goes_on_from_the_guide_through_the_model() -> None:
    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return 2 * x

    def guide(x: Tensor, sigma: Tensor) -> Tensor:
        return x

    x, sigma = Stream(0).normal(2, *SHAPE), torch.ones(2)
    assert autoguided(denoise, guide, 1) is denoise
    torch.testing.assert_close(autoguided(denoise, guide, 3.0)(x, sigma), 4 * x)
    torch.testing.assert_close(autoguided(denoise, guide, 0.0)(x, sigma), x)


def test_the_guide_is_the_network_as_it_was_when_the_snapshot_was_due() -> None:
    flow = stirred(snapshot=0.25, classes=3, condition="label")
    with torch.no_grad():
        flow.after_round(turn(torch.zeros(1, *SHAPE), 0.2))
        assert not flow.taken
        flow.after_round(turn(torch.zeros(1, *SHAPE), 0.25))
        before = {name: p.clone() for name, p in flow.network.state_dict().items()}
        for p in [*flow.network.parameters(), *flow.conditioner.parameters()]:
            p.mul_(1.1)
        flow.after_round(turn(torch.zeros(1, *SHAPE), 0.5))
    assert flow.guide is not None and flow.taken
    assert all(torch.equal(before[name], p) for name, p in flow.guide[0].state_dict().items())
    trained = {id(p) for p in flow.player.parameters()}
    assert not any(id(p) in trained or p.requires_grad for p in flow.guide.parameters())
    condition, rng = Condition(label=torch.tensor([0, 2])), ImageRng.counting(0, 2)

    def draw(scale: float) -> Tensor:
        how = Sampling(steps=2, autoguidance=scale)
        return flow.sample(condition, ImageRng(rng.seeds), how)

    x, sigma = Stream(0).normal(2, *SHAPE), torch.tensor([0.5, 2.0])
    own, weak, guided = (
        flow.denoiser(condition, 2, Sampling(autoguidance=scale))(x, sigma) for scale in (1.0, 0.0, 3.0)
    )
    torch.testing.assert_close(guided, weak + 3 * (own - weak), rtol=1e-4, atol=1e-4)
    assert (own - weak).abs().max() > 1e-3 and not torch.equal(draw(1.0), draw(2.0))


def test_what_compares_pictures_is_refused_one_alone() -> None:
    for how in ({"coupling": "ot"}, {"dispersive": 0.5}):
        with pytest.raises(UsageError, match=r"set train\.batch to 2 or more for each part"):
            stirred(**how).match(turn(torch.zeros(1, *SHAPE)))
        assert torch.isfinite(stirred(**how).match(turn(Stream(0).normal(2, *SHAPE))))


def test_without_a_snapshot_there_is_no_guide_and_nothing_more_is_stored() -> None:
    flow = stirred()
    assert flow.guide is None and not any(name.startswith(("guide", "taken")) for name in flow.state_dict())
    with pytest.raises(UsageError, match=r"model\.snapshot = 0\.25"):
        flow.sample(Condition(), ImageRng.counting(0, 1), Sampling(steps=2, autoguidance=2.0))


# -- the likelihood ---------------------------------------------------------------------------------------------


def test_a_looser_tolerance_calls_the_network_less_and_says_nearly_the_same() -> None:
    image, calls, found = 0.5 * Stream(0).normal(1, *SHAPE), {}, {}
    for tolerance in (1e-4, 0.03):
        flow, asked = stirred(tolerance=tolerance), []
        with torch.no_grad():
            for p in flow.network.parameters():
                p.mul_(0.3)
        flow.network.register_forward_hook(lambda *made, asked=asked: asked.append(1))
        found[tolerance], calls[tolerance] = flow.log_prob(image, Stream(1)), len(asked)
    assert calls[0.03] < calls[1e-4]
    torch.testing.assert_close(found[0.03], found[1e-4], rtol=0.02, atol=0)


# -- the dispersive loss ----------------------------------------------------------------------------------------


def test_the_dispersive_loss_is_its_formula_and_falls_with_distance() -> None:
    z, n = Stream(0).normal(5, 12), 5
    pairs = [math.exp(-float((a - b).square().mean()) / 0.5) for a in z for b in z]
    assert float(dispersive(z)) == pytest.approx(math.log(sum(pairs) / n**2))
    assert float(dispersive(torch.ones(4, 3))) == pytest.approx(0)  # all alike
    assert dispersive(3 * z) < dispersive(z) < 0
    assert math.isfinite(float(dispersive(1e4 * z)))


@pytest.mark.parametrize("network", [DIT, UNET, UVIT], ids=lambda table: table["kind"])
def test_it_is_added_to_the_loss_and_reaches_the_layers_before_the_middle(network: dict[str, object]) -> None:
    image = Stream(3).normal(6, *SHAPE)
    flow, plain = stirred(network=network, dispersive=0.5), stirred(network=network)
    now = turn(image)
    loss, without = flow.match(now), plain.match(turn(image))
    torch.testing.assert_close(loss, without + 0.5 * now.notes["dispersive"])
    with watched(flow.network.centre) as made:
        flow.match(turn(image))
    (features,) = made
    assert features.shape[0] == 6 and features.requires_grad
    dispersive(features.flatten(1)).backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in flow.network.parameters())
    with watched(None) as nothing:
        flow.match(turn(image))
    assert nothing == []
