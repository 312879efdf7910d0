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
from zeuxis.nn.made import DEGREES, MADE, lost_share, masks
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.density.maf import MAF
from zeuxis.training.legacy import upgraded_card

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


PAIRS = 40 * 39 / 2  # of an output and an earlier input


@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("widths", [(39,), (40, 55), (100, 39, 64), ()])
def test_wherever_the_width_allows_no_dependency_is_lost(widths: tuple[int, ...], degrees: str) -> None:
    made = MADE(40, 1, widths=widths, degrees=degrees)
    with torch.no_grad():
        for p in made.parameters():
            p.fill_(0.01)
        slopes = jacobian(lambda x: made(x[None])[0, 0], torch.zeros(40))
    assert torch.equal((slopes != 0).float(), torch.ones(40, 40).tril(-1))
    assert lost_share(40, masks(40, widths, degrees)) == 0


@pytest.mark.parametrize(("degrees", "lost"), [("cyclic", 19 * 20 / 2), ("even", 19)])
def test_what_a_narrower_layer_loses_is_what_its_jacobian_lacks(degrees: str, lost: float) -> None:
    """20 units for 40 numbers: in a cycle the last 19 degrees are missing, evenly spaced every other one of them."""
    made = MADE(40, 1, widths=(64, 20), degrees=degrees)
    with torch.no_grad():
        for p in made.parameters():
            p.fill_(0.01)
        slopes = jacobian(lambda x: made(x[None])[0, 0], torch.zeros(40))
    assert not slopes.triu().any()
    assert 1 - float((slopes != 0).sum()) / PAIRS == pytest.approx(lost_share(40, masks(40, (64, 20), degrees)))
    assert lost_share(40, masks(40, (64, 20), degrees)) == pytest.approx(lost / PAIRS)


def test_a_narrower_layer_is_refused_with_what_it_would_lose() -> None:
    with pytest.raises(UsageError, match=r"at least 783, or set degrees = 'even' to lose 0\.09%") as error:
        MADE(784, 2, widths=(512, 512))
    assert "12.01% of the dependencies would be lost" in str(error.value)
    with pytest.raises(UsageError, match="degrees"):
        MADE(784, 2, widths=(512, 512), degrees="odd")
    with pytest.raises(UsageError, match="at least 5"):
        MAF(SHAPE, flows=2, widths=(4,))
    assert MAF(SHAPE, flows=2, widths=(4,), degrees="even").log_prob(pictures(), Stream(0)).isfinite().all()


def test_an_older_card_keeps_the_degrees_that_its_weights_were_learnt_with() -> None:
    old = {"system": "maf", "format": 2, "config": {"shape": [1, 2, 3], "widths": [4]}, "spec": {}}
    assert upgraded_card(old)["config"]["degrees"] == "cyclic"
    given = {"system": "latent-prior", "format": 2, "config": {"shape": [1, 2, 3], "density": old}, "spec": {}}
    assert upgraded_card(given)["config"]["density"]["config"]["degrees"] == "cyclic"
    new = {**old, "config": {**old["config"], "degrees": "even"}}
    assert upgraded_card(new)["config"]["degrees"] == "even"


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
