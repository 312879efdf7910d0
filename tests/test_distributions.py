"""Distributions against those of torch and sums over all values; invertible maps against their Jacobians."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jacobian
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import MultivariateNormal, kl_divergence
from torch.distributions import Normal as TorchNormal

from zeuxis.batch import to_float, to_uint8
from zeuxis.distributions.affine import Divide, Flatten, Reverse, Whiten, pack, unpack
from zeuxis.distributions.autoregressive import MaskedAffine
from zeuxis.distributions.bernoulli import Bernoulli
from zeuxis.distributions.bijection import Bijection, Composition
from zeuxis.distributions.dequantise import LEVEL, VARIANCE, dequantise, quantise
from zeuxis.distributions.discretised import DiscretisedLogistic, DiscretisedNormal
from zeuxis.distributions.flow import Flow
from zeuxis.distributions.normal import Normal, StandardNormal
from zeuxis.rng import Stream


def normals(n: int, *shape: int) -> list[Tensor]:
    return [Stream(k).normal(*shape) for k in range(n)]


def test_normal_agrees_with_torch() -> None:
    mean, logvar, x, other_mean, other_logvar = normals(5, 3, 4, 2)
    ours, theirs = Normal(mean, logvar), TorchNormal(mean, (0.5 * logvar).exp())
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x).flatten(1).sum(1))
    other = TorchNormal(other_mean, (0.5 * other_logvar).exp())
    torch.testing.assert_close(ours.kl(Normal(other_mean, other_logvar)), kl_divergence(theirs, other).sum((1, 2)))
    standard = TorchNormal(torch.zeros(3, 4, 2), 1.0)
    torch.testing.assert_close(ours.kl_standard(), kl_divergence(theirs, standard).sum((1, 2)))
    assert Normal(torch.full((1, 2), 2.0), torch.zeros(1, 2)).kl_standard().item() == pytest.approx(4)
    shared = Normal(torch.zeros(1, 2), torch.zeros(()))  # one variance for all
    assert -shared.log_prob(torch.ones(1, 2)).item() == pytest.approx(math.log(2 * math.pi) + 1)


def test_normal_draws_are_its_own_and_temperature_scales_their_deviation() -> None:
    mean, logvar = torch.full((20_000, 2), 3.0), torch.tensor([0.0, 2.0]).expand(20_000, 2)
    drawn = Normal(mean, logvar).sample(Stream(1), temperature=0.5)
    torch.testing.assert_close(drawn.mean(0), torch.full((2,), 3.0), rtol=0, atol=0.04)
    torch.testing.assert_close(drawn.std(0), torch.tensor([0.5, 0.5 * math.e]), rtol=0.03, atol=0)
    assert torch.equal(Normal(mean, logvar).sample(Stream(1), temperature=0.0), mean)


def test_bernoulli_agrees_with_torch() -> None:
    logits, x = Stream(9).normal(3, 1, 2, 2), Stream(10).uniform(3, 1, 2, 2).round()
    theirs = TorchBernoulli(logits=logits)
    torch.testing.assert_close(Bernoulli(logits).log_prob(x), theirs.log_prob(x).flatten(1).sum(1))
    torch.testing.assert_close(Bernoulli(logits).mean, theirs.mean)


@pytest.mark.parametrize("kind", [DiscretisedLogistic, DiscretisedNormal])
@pytest.mark.parametrize(("mean", "scale"), [(0.1, 0.1), (-0.99, 0.02), (0.7, 0.003), (1.5, 0.4)])
def test_discretised_densities_sum_to_one_over_the_levels(
    kind: type[DiscretisedLogistic] | type[DiscretisedNormal], mean: float, scale: float
) -> None:
    width = torch.tensor(math.log(scale) if kind is DiscretisedLogistic else scale)
    for levels in (256, 5):
        probability = kind(torch.tensor(mean), width, levels).log_prob(torch.linspace(-1, 1, levels)).exp()
        assert probability.sum().item() == pytest.approx(1, abs=2e-4) and (probability >= 0).all()


def test_the_discretised_normal_is_exact_and_finite_in_the_tails() -> None:
    mean, std = torch.tensor(0.2, dtype=torch.float64), torch.tensor(0.05, dtype=torch.float64)
    pixel = to_float(torch.tensor([150], dtype=torch.uint8)).double()
    cdf = TorchNormal(mean, std).cdf
    expected = (cdf(pixel + 1 / 255) - cdf(pixel - 1 / 255)).log()
    torch.testing.assert_close(DiscretisedNormal(mean, std).log_prob(pixel), expected)
    far = DiscretisedNormal(torch.tensor(-0.9), torch.tensor(0.01)).log_prob(torch.tensor([0.5]))
    assert torch.isfinite(far).all() and far.item() < -5000


def test_the_discretised_logistic_keeps_its_gradient_in_the_tails() -> None:
    mean = torch.full((1, 1), -0.9, requires_grad=True)
    log_p = DiscretisedLogistic(mean, torch.tensor(-6.0)).log_prob(torch.full((1, 1), 0.5))
    log_p.sum().backward()
    assert torch.isfinite(log_p).all() and mean.grad is not None
    assert mean.grad.item() == pytest.approx(math.exp(6), rel=1e-3)  # 1/s: towards the pixel


def test_dequantised_pictures_fill_their_grey_levels_and_are_quantised_to_what_they_were() -> None:
    pixels = torch.arange(256).repeat(40, 1).view(1, 1, 40, 256).to(torch.uint8)
    x = dequantise(to_float(pixels), Stream(8))
    assert torch.equal(to_uint8(quantise(x)), pixels)
    torch.testing.assert_close(quantise(x), to_float(pixels), rtol=0, atol=1e-6)
    offsets = (x - to_float(pixels)) / LEVEL
    assert offsets.min() < -0.49 and offsets.max() > 0.49 and abs(float(offsets.mean())) < 0.01
    assert float((x - to_float(pixels)).var()) == pytest.approx(VARIANCE, rel=0.03)


def conditioner(x: Tensor) -> Tensor:
    """Shift and log-scale of number i from the sum of those before it."""
    before = x.cumsum(1) - x
    return torch.stack([before.sin(), 3 * before.cos()], 1)


FACTOR = torch.tensor([[0.5, 0, 0, 0], [0.3, 2, 0, 0], [-1, 0.2, 1, 0], [0.1, 0.4, -0.7, 0.9]], dtype=torch.float64)
MAPS: dict[str, Bijection] = {
    "divide": Divide(0.3),
    "reverse": Reverse(),
    "whiten": Whiten(torch.tensor([1.0, 2, 3, 4], dtype=torch.float64), FACTOR),
    "masked-affine": MaskedAffine(conditioner),
    "chain": Composition((Divide(2.0), MaskedAffine(conditioner), Reverse(), MaskedAffine(conditioner, limit=1.0))),
}


@pytest.mark.parametrize("name", MAPS)
def test_maps_are_inverted_and_their_log_determinants_are_those_of_the_jacobian(name: str) -> None:
    f, x = MAPS[name], Stream(3).normal(3, 4).double()
    y, log_det = f.forward_and_log_det(x)
    torch.testing.assert_close(f.inverse(y), x)
    assert log_det.shape == (3,)
    for row, found in zip(x, log_det, strict=True):
        slope = jacobian(lambda v: f.forward_and_log_det(v[None])[0][0], row)
        torch.testing.assert_close(found, torch.linalg.slogdet(slope).logabsdet)


def test_a_flow_is_a_list_of_maps_and_a_base() -> None:
    mean = torch.tensor([1.0, 2, 3, 4], dtype=torch.float64)
    flow = Flow((Flatten((1, 2, 2)), Whiten(mean, FACTOR)), StandardNormal(4))
    x = Stream(5).normal(6, 1, 2, 2).double()
    theirs = MultivariateNormal(mean, scale_tril=FACTOR)
    torch.testing.assert_close(flow.log_prob(x), theirs.log_prob(x.flatten(1)))
    drawn = flow.sample(50_000, Stream(6))
    assert drawn.shape == (50_000, 1, 2, 2)
    torch.testing.assert_close(drawn.flatten(1).T.cov(), FACTOR @ FACTOR.T, rtol=0.05, atol=0.05)
    assert torch.equal(flow.sample(1, Stream(6), temperature=0.0).flatten(), mean)


def test_packed_factors_are_unpacked() -> None:
    assert pack(FACTOR).shape == (10,)
    assert torch.equal(unpack(pack(FACTOR), 4), FACTOR)
