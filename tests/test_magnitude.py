"""Layers that preserve magnitudes, the network that is made of them, and the uncertainty that weighs its loss."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.errors import UnknownName, UsageError
from zeuxis.game import Turn
from zeuxis.nn.magnitude import (
    CosineAttention,
    MPConv2d,
    MPFourier,
    MPLinear,
    Uncertainty,
    force_unit_weights,
    mp_cat,
    mp_silu,
    mp_sum,
    unit,
)
from zeuxis.nn.magnitude_unet import MagnitudeBlock, MagnitudeUNet
from zeuxis.nn.networks import NETWORKS, UNETS_AND_MP, Ends, build_network
from zeuxis.nn.resampling_unet import Double, Halve
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.diffusion.edm import EDM

SHAPE = Shape(1, 8, 8)
SMALL = {"kind": "mp-unet", "width": 8, "multiples": (1, 2), "blocks": 1, "attention": (2,)}


def randn(*shape: int, seed: int = 0) -> Tensor:
    return Stream(seed).normal(*shape)


def magnitude(x: Tensor) -> float:
    return float(x.detach().square().mean().sqrt())


def system(**how: object) -> EDM:
    torch.default_generator.manual_seed(0)
    return EDM(SHAPE, **{"network": SMALL, **how})  # type: ignore[arg-type]


def turn(n: int = 8) -> Turn:
    return Turn(Batch(0.5 * randn(n, *SHAPE, seed=5)), Stream(1), 0, 0.5)


# -- layers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(mp_silu, id="silu"),
        pytest.param(lambda x: mp_sum(x, randn(*x.shape, seed=1), 0.3), id="sum"),
        pytest.param(lambda x: mp_cat(x, randn(16, 8, 16, 16, seed=1)), id="cat"),
        pytest.param(lambda x: mp_cat(x, randn(16, 128, 16, 16, seed=1), 0.7), id="cat of many"),
        pytest.param(lambda x: MPConv2d(64, 32, 3)(x)[:, :, 1:-1, 1:-1], id="convolution"),  # its rim sees zeros
        pytest.param(lambda x: MPConv2d(64, 32, 1)(x), id="pointwise"),
        pytest.param(lambda x: MPLinear(64, 256)(x.flatten(2).transpose(1, 2)), id="linear"),
        pytest.param(lambda x: MPLinear(64, 256)(x[:, :, 0].transpose(1, 2), torch.tensor(2.0)) / 2, id="gain"),
        pytest.param(lambda x: MPFourier(512)(x.flatten()[:256]), id="fourier"),
        pytest.param(lambda x: unit(7 * x, (1,)), id="pixel norm"),
        pytest.param(Double((1, 1)), id="doubling"),
    ],
)
def test_magnitude_is_preserved(layer: Callable[[Tensor], Tensor]) -> None:
    torch.default_generator.manual_seed(0)
    with torch.no_grad():
        assert magnitude(layer(randn(16, 64, 16, 16))) == pytest.approx(1, abs=0.04)


def test_halves_of_a_sum_weigh_as_they_are_told() -> None:
    a, b = randn(1, 40, 32, 32), randn(1, 8, 32, 32, seed=1)
    first, second = mp_cat(a, b, 0.75).split([40, 8], 1)
    shares = [part.square().sum() / (40 + 8) / 32**2 for part in (first, second)]  # of the variance that follows
    assert float(shares[1] / shares[0]) == pytest.approx(9, rel=0.02)
    torch.testing.assert_close(mp_sum(a, a, 0.5), a * math.sqrt(2))


def test_the_length_of_a_weight_is_of_no_account() -> None:
    torch.default_generator.manual_seed(0)
    layer, x = MPConv2d(8, 4, 3), randn(2, 8, 5, 5)
    longer = copy.deepcopy(layer)
    longer.weight.data.mul_(torch.tensor([0.1, 1, 10, 1000]).view(-1, 1, 1, 1))
    torch.testing.assert_close(longer(x), layer(x), rtol=1e-2, atol=1e-3)
    force_unit_weights(longer)
    torch.testing.assert_close(longer.weight, layer.weight, rtol=1e-2, atol=1e-3)


def test_attention_by_cosines_has_no_part_in_how_long_queries_are() -> None:
    torch.default_generator.manual_seed(0)
    layer, x = CosineAttention(32, 2), randn(2, 16, 32)
    assert torch.equal(unit(torch.zeros(2, 3), (1,)), torch.zeros(2, 3))
    torch.testing.assert_close(layer(5 * x), layer(x), rtol=1e-3, atol=1e-3)  # of keys and values neither
    alone = layer(x[:, :1])  # it sees itself: out of magnitude 1, through values that have it
    assert magnitude(alone) == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize("resample", [None, Halve((1, 1)), Double((1, 1))])
def test_a_block_keeps_the_magnitude_of_a_picture(down: bool, resample: Halve | None) -> None:
    torch.default_generator.manual_seed(0)
    block = MagnitudeBlock(64, 32, 16, down=down, resample=resample, heads=2)
    x = randn(4, 64, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)  # flat, so that halving averages nothing
    with torch.no_grad():
        assert magnitude(block(x, randn(4, 16))) == pytest.approx(1, abs=0.1)


# -- the network ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "published"), [(128, 124.7), (192, 280.2)])
def test_the_published_sizes_have_the_published_counts(width: int, published: float) -> None:
    """EDM2-XS and S of ImageNet's latents, with their 1000 classes and the uncertainty's 128 (Table 2)."""
    with torch.device("meta"):
        network, uncertainty = MagnitudeUNet(4, width=width), Uncertainty()
    counted = sum(p.numel() for part in (network, uncertainty) for p in part.parameters())
    assert round((counted + 1000 * network.vector_width) / 1e6, 1) == published


def test_every_weight_has_magnitude_one_after_a_step() -> None:
    model = system(uncertainty=True)
    optimiser = torch.optim.Adam(model.player.parameters(), lr=0.1)
    weights = [m.weight for m in model.modules() if isinstance(m, MPLinear | MPConv2d)]
    assert len(weights) > 20
    for _ in range(3):
        optimiser.zero_grad()
        model.restore(turn()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert max(abs(magnitude(w) - 1) for w in weights) > 1e-3  # steps make them longer
    model.after_round(turn())
    for weight in weights:
        rows = weight.detach().flatten(1).square().mean(1).sqrt()
        torch.testing.assert_close(rows, torch.ones_like(rows), rtol=0, atol=1e-3)


def test_features_stay_of_magnitude_one_all_the_way_however_deep() -> None:
    torch.default_generator.manual_seed(0)
    network = MagnitudeUNet(3, width=16, multiples=(1, 2, 2), blocks=3, attention=(4,))
    network.gain.data.fill_(1.0)
    seen: list[float] = []
    for block in network.modules():
        if isinstance(block, MagnitudeBlock):
            block.register_forward_hook(lambda module, given, made: seen.append(magnitude(made)))
    with torch.no_grad():
        out = network(randn(4, 3, 16, 16), torch.tensor([-500.0, 0.0, 300.0, 900.0]), randn(4, network.vector_width))
    assert len(seen) == 3 * 3 + 2 + 2 + 3 * 4 + 2 and max(abs(m - 1) for m in seen) < 0.35
    assert magnitude(out) == pytest.approx(1, abs=0.35)


def test_it_begins_with_nothing_and_obeys_a_class_whatever_its_vector_s_length() -> None:
    torch.default_generator.manual_seed(0)
    network = build_network(SMALL, Ends(SHAPE), UNETS_AND_MP)
    x, time, vector = randn(2, *SHAPE), torch.tensor([0.0, 500.0]), randn(2, network.vector_width)
    assert not network(x, time, vector).any()
    for p in (p for name, p in network.named_parameters() if name.endswith("gain")):
        p.data.fill_(1.0)
    torch.testing.assert_close(network(x, time, 9 * vector), network(x, time, vector), rtol=1e-3, atol=1e-3)
    assert (network(x, time, -vector) - network(x, time, vector)).abs().max() > 0.01
    assert (network(x, time + 300, vector) - network(x, time, vector)).abs().max() > 0.01
    assert network(randn(1, 1, 12, 16), time[:1], vector[:1]).shape == (1, 1, 12, 16)


def test_under_bfloat16_it_computes_and_says_so_in_the_picture_s_dtype() -> None:
    network = build_network(SMALL, Ends(SHAPE), UNETS_AND_MP)
    with torch.autocast("cpu", torch.bfloat16):
        made = network(randn(2, *SHAPE), torch.tensor([0.0, 500.0]), randn(2, network.vector_width))
    assert made.dtype == torch.float32 and torch.isfinite(made).all()


def test_only_what_tends_its_weights_may_have_it() -> None:
    assert "mp-unet" in UNETS_AND_MP and "mp-unet" not in NETWORKS
    with pytest.raises(UnknownName, match="mp-unet"):
        EDM(SHAPE, network={"kind": "mp-unets"})
    with pytest.raises(UsageError, match="attend to no caption"):
        build_network(SMALL, Ends(SHAPE, context_width=8), UNETS_AND_MP)
    with pytest.raises(UsageError, match="cannot be halved"):
        build_network({"kind": "mp-unet"}, Ends(SHAPE._replace(height=12)), UNETS_AND_MP)
    with pytest.raises(UsageError, match="downsampled by"):
        build_network({**SMALL, "attention": (8,)}, Ends(SHAPE), UNETS_AND_MP)


# -- the uncertainty --------------------------------------------------------------------------------------------


def test_the_uncertainty_becomes_the_logarithm_of_the_loss() -> None:
    torch.default_generator.manual_seed(0)
    uncertainty, level = Uncertainty(), torch.linspace(-1.5, 1, 64)
    expected = (1 + level.square()).exp()
    optimiser = torch.optim.Adam(uncertainty.parameters(), lr=0.05)
    for _ in range(150):
        u = uncertainty(level)
        optimiser.zero_grad()
        (expected / u.exp() + u).mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        force_unit_weights(uncertainty)
    torch.testing.assert_close(uncertainty(level).detach(), expected.log(), rtol=0, atol=0.25)


class Constant(nn.Module):
    """Says the same number of every level."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, level: Tensor) -> Tensor:
        return torch.full_like(level, self.number)


def test_the_loss_is_divided_by_what_it_is_expected_to_be() -> None:
    plain, weighed = system(), system(uncertainty=True)
    weighed.uncertainty = Constant(math.log(3.0))  # type: ignore[assignment]
    loss, now = plain.restore(turn()), turn()
    torch.testing.assert_close(weighed.restore(now), loss / 3 + math.log(3.0))
    torch.testing.assert_close(now.notes["error"], loss.detach())
    assert not any(name.startswith("uncertainty") for name in plain.state_dict())


def test_it_draws_and_obeys_classes() -> None:
    model = system(classes=3, condition="label").eval()
    model.network.get_parameter("gain").data.fill_(1.0)
    drawn = model.sample(Condition(label=torch.tensor([0, 2])), ImageRng.counting(0, 2))
    assert drawn.shape == (2, *SHAPE) and torch.isfinite(drawn).all()
