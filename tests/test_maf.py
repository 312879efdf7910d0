"""The masked autoregressive flow. Its inverse and its Jacobian are tested by the contract."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd.functional import jacobian

from zeuxis.batch import Condition, Shape
from zeuxis.distributions.dequantise import LEVEL
from zeuxis.errors import UsageError
from zeuxis.knobs import Sampling
from zeuxis.nn.made import MADE
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.density.maf import MAF

SHAPE = Shape(1, 2, 3)


def perturbed(**model: float) -> MAF:
    """A flow whose weights are anything but those of the start."""
    flow = MAF(SHAPE, flows=3, widths=(16, 16), **model)
    draws = Stream(3)
    with torch.no_grad():
        for p in flow.parameters():
            p.copy_(0.4 * draws.normal(*p.shape))
    return flow.requires_grad_(False).eval()


def pictures(n: int = 4) -> torch.Tensor:
    return Stream(1).uniform(n, *SHAPE) * 2 - 1


@pytest.mark.parametrize("d", [1, 2, 7])
def test_output_i_depends_on_the_inputs_before_i_and_on_all_of_them(d: int) -> None:
    made = MADE(d, 2, widths=(32, 32))
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(Stream(d).normal(*p.shape))
    slopes = jacobian(lambda x: made(x[None])[0], torch.zeros(d))  # (2, d, d)
    before = torch.ones(d, d).tril(-1).bool()
    assert torch.equal(slopes != 0, before.expand(2, d, d))


def test_a_flow_begins_as_the_identity() -> None:
    flow, image = MAF(SHAPE, flows=2, widths=(8,), data_std=0.25), pictures()
    z = image.flatten(1) / 0.25
    density = (-0.5 * z.square() - 0.5 * math.log(2 * math.pi) - math.log(0.25)).sum(1)
    assert torch.allclose(flow.log_prob(image, Stream(0)), density, atol=1e-5)
    assert torch.allclose(flow.encode(image), z)  # an even number of reversals


def test_samples_are_noise_decoded_and_temperature_scales_the_noise() -> None:
    flow = perturbed(data_std=0.1)
    cold = flow.sample(Condition(), ImageRng.counting(0, 3), Sampling(temperature=0.0))
    assert torch.equal(cold, flow.decode(torch.zeros(3, 6)).clamp(-1, 1))
    noise = ImageRng.counting(5, 3).normal(3, 6)
    drawn = flow.sample(Condition(), ImageRng.counting(5, 3), Sampling(temperature=0.5))
    assert torch.equal(drawn, flow.decode(0.5 * noise).clamp(-1, 1))


def test_pixels_are_spread_over_their_level_and_codes_are_not() -> None:
    from zeuxis.batch import Batch
    from zeuxis.game import Turn

    image = pictures()

    def nll(level: float) -> torch.Tensor:
        return perturbed(level=level).nll(Turn(Batch(image), Stream(9), 0, 0.0))

    exact = -perturbed().log_prob(image, Stream(0)).mean() / 6
    assert torch.allclose(nll(0.0), exact)
    shown = image + LEVEL * (Stream(9).uniform(*image.shape) - 0.5)
    assert torch.allclose(nll(LEVEL), -perturbed().log_prob(shown, Stream(0)).mean() / 6)


@pytest.mark.parametrize("model", [{"flows": 0}, {"data_std": 0.0}, {"level": -1.0}])
def test_what_makes_no_sense_is_refused(model: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="at least 1, above 0"):
        MAF(SHAPE, **model)
