"""The adaptive solver, and the exact likelihood by a diffusion model's flow, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.diffusion.guidance import bind_condition
from zeuxis.diffusion.likelihood import (
    LOW,
    differentiable,
    draw_probe,
    flow_log_prob,
    straight_log_prob,
    ve_log_prob,
)
from zeuxis.diffusion.ode import State, dormand_prince
from zeuxis.diffusion.path import append_dims
from zeuxis.diffusion.sampler import ByLevel
from zeuxis.distributions.dequantise import VARIANCE, dequantise, quantise
from zeuxis.errors import UnknownName, UsageError, ZeuxisError
from zeuxis.game import Turn
from zeuxis.knobs import Sampling
from zeuxis.metrics.likelihood import bits_per_dim
from zeuxis.nn.embed import TIME_SCALE
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.diffusion.ddpm import DDPM
from zeuxis.systems.diffusion.flow_matching import FlowMatching
from zeuxis.verbs import Likelihood

# -- the solver -----------------------------------------------------------------------------------------------------


def predators(state: State, t: Tensor) -> State:
    """Lotka and Volterra's equations, with a season."""
    (y,) = state
    prey, predator = y.unbind(1)
    season = 1 + 0.3 * t.sin()
    return (torch.stack([season * prey - prey * predator, prey * predator - predator], 1),)


def test_steps_are_those_of_scipy() -> None:
    integrate = pytest.importorskip("scipy.integrate")
    y = torch.tensor([[1.5, 0.7]], dtype=torch.float64)

    def theirs(t: float, at: object) -> object:
        (slope,) = predators((torch.as_tensor(at)[None],), torch.tensor([t], dtype=torch.float64))
        return slope[0].numpy()

    for start, end, tolerance in ((0.0, 9.0, 1e-6), (4.0, 1.0, 1e-4)):
        peer = integrate.RK45(theirs, start, y[0].numpy(), end, rtol=tolerance, atol=tolerance)
        steps = 0
        while peer.status == "running":
            peer.step()
            steps += 1
        ours = dormand_prince(predators, (y,), start, end, tolerance=tolerance)
        torch.testing.assert_close(ours.state[0][0], torch.as_tensor(peer.y), rtol=0, atol=1e-12)
        assert ours.calls == peer.nfev and ours.steps >= steps  # a step refused is one of ours


def test_the_error_follows_the_tolerance() -> None:
    def turning(state: State, t: Tensor) -> State:
        (y,) = state
        return (torch.stack([y[:, 1], -y[:, 0]], 1),)

    y = torch.tensor([[1.0, 0.0], [0.3, 2.0]], dtype=torch.float64)
    c, s = math.cos(7.0), math.sin(7.0)
    exact = torch.stack([c * y[:, 0] + s * y[:, 1], -s * y[:, 0] + c * y[:, 1]], 1)
    calls = []
    for tolerance in (1e-4, 1e-6, 1e-8, 1e-10):
        solved = dormand_prince(turning, (y,), 0.0, 7.0, tolerance=tolerance)
        assert (solved.state[0] - exact).abs().max() < 30 * tolerance
        calls.append(solved.calls)
    # Of order 5: a tolerance 10^4 times as small takes 10^(4/5) = 6.3 times as many steps.
    assert calls[3] / calls[1] == pytest.approx(10**0.8, rel=0.15)


def test_an_image_s_solution_is_its_own_whatever_the_company() -> None:
    y = torch.tensor([[1.5, 0.7], [40.0, 9.0], [0.01, 0.02]], dtype=torch.float64)
    together = dormand_prince(predators, (y,), 0.0, 5.0)
    alone = [dormand_prince(predators, (row[None],), 0.0, 5.0) for row in y]
    assert torch.equal(together.state[0], torch.cat([each.state[0] for each in alone]))
    assert together.steps == max(each.steps for each in alone) and len({each.steps for each in alone}) == 3


def test_what_cannot_be_solved_says_so() -> None:
    y = torch.ones(1, 1, dtype=torch.float64)

    def exploding(state: State, t: Tensor) -> State:  # y = 1 / (1 - t)
        return (state[0] ** 2,)

    with pytest.raises(ZeuxisError, match=r"came to nothing at 1|not finite|did not bring"):
        dormand_prince(exploding, (y,), 0.0, 2.0)
    with pytest.raises(ZeuxisError, match="not finite"):
        dormand_prince(lambda state, t: (state[0] * math.nan,), (y,), 0.0, 1.0)
    with pytest.raises(ZeuxisError, match="5 steps did not bring"):
        dormand_prince(lambda state, t: ((50 * append_dims(t, y)).sin(),), (y,), 0.0, 10.0, most=5)
    with pytest.raises(UsageError, match="tolerance of 0"):
        dormand_prince(exploding, (y,), 0.0, 0.5, tolerance=0.0)


# -- Gaussians: the denoiser is affine, the density known -----------------------------------------------------------

DIMS = 6
ROOT = torch.randn(DIMS, DIMS, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
COVARIANCE = 0.1 * ROOT @ ROOT.T + 0.01 * torch.eye(DIMS, dtype=torch.float64)
MEAN = torch.linspace(-0.5, 0.5, DIMS, dtype=torch.float64)
EYE = torch.eye(DIMS, dtype=torch.float64)


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    """E[x0 | x] where x0 ~ N(MEAN, COVARIANCE): MEAN + C (C + sigma^2)^-1 (x - MEAN)."""
    shrink = COVARIANCE @ torch.linalg.inv(COVARIANCE + append_dims(sigma**2, EYE[None]) * EYE)  # (B, d, d)
    return MEAN + (shrink @ (x - MEAN)[..., None])[..., 0]


def drawn(n: int = 5) -> Tensor:
    return (
        MultivariateNormal(MEAN, COVARIANCE).mean
        + torch.linalg.cholesky(COVARIANCE).mv(torch.ones(DIMS, dtype=torch.float64))
        * torch.linspace(-2, 2, n, dtype=torch.float64)[:, None]
    )


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-9])
def test_the_density_of_a_gaussian_is_found(tolerance: float) -> None:
    """At the level ``low`` it is N(MEAN, C + low^2). The prior neglects the data beside noise of deviation ``high``."""
    low, high = 0.01, 1e6
    x = drawn()
    exact = MultivariateNormal(MEAN, COVARIANCE + low**2 * EYE).log_prob(x)
    found = ve_log_prob(gaussian, x, low=low, high=high, tolerance=tolerance)
    assert (found.log_prob - exact).abs().max() < 30 * DIMS * tolerance + 1e-6  # of the prior
    # The latent is where the flow of a Gaussian leads: each whitened coordinate grows with the deviation.
    values, vectors = torch.linalg.eigh(COVARIANCE)
    grown = ((values + high**2) / (values + low**2)).sqrt()
    there = MEAN + ((x - MEAN) @ vectors * grown) @ vectors.T
    torch.testing.assert_close(found.latent * (1 + high), there, rtol=100 * tolerance, atol=100 * tolerance * high)


def test_the_straight_path_ends_in_pure_noise() -> None:
    """The same without any neglect: its prior is exact."""

    def straight(x: Tensor, t: Tensor) -> Tensor:
        a = 1 - append_dims(t, x)
        gain = (
            a[..., None]
            * COVARIANCE
            @ torch.linalg.inv((a**2)[..., None] * COVARIANCE + append_dims(t**2, EYE[None]) * EYE)
        )
        return MEAN + (gain @ (x - a * MEAN)[..., None])[..., 0]

    exact = MultivariateNormal(MEAN, COVARIANCE + LOW**2 * EYE).log_prob(drawn())
    found = straight_log_prob(straight, drawn(), tolerance=1e-8)
    torch.testing.assert_close(found.log_prob, exact, rtol=0, atol=1e-5)


def test_the_prior_of_a_chain() -> None:
    """N(0, 1) data and a prior of 1 + high^2 are exact at any high."""
    unit = ByLevel(lambda x, sigma: x / (1 + append_dims(sigma, x) ** 2))
    x = torch.linspace(-2, 2, 12, dtype=torch.float64).view(3, 1, 2, 2)
    found = ve_log_prob(unit, x, low=0.01, high=5.0, prior=math.sqrt(26.0), tolerance=1e-8)
    exact = torch.distributions.Normal(0.0, math.sqrt(1 + 0.01**2)).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(found.log_prob, exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["rademacher", "normal"])
def test_probes_estimate_the_divergence_without_bias(kind: str) -> None:
    n = 4000
    x = drawn(1).expand(n, -1)
    exact = ve_log_prob(gaussian, drawn(1), low=0.05, high=80.0, tolerance=1e-3).log_prob
    probe = draw_probe(x, Stream(5), kind)  # type: ignore[arg-type]
    found = ve_log_prob(gaussian, x, low=0.05, high=80.0, probes=[probe], tolerance=1e-3).log_prob
    spread = float(found.std()) / math.sqrt(n)
    assert abs(float(found.mean() - exact)) < 4 * spread and spread < (0.1 if kind == "rademacher" else 0.4)
    pair = ve_log_prob(
        gaussian, x, low=0.05, high=80.0, probes=[probe, draw_probe(x, Stream(6), "rademacher")], tolerance=1e-3
    ).log_prob
    assert pair.std() < 0.8 * found.std() and abs(float(pair.mean() - exact)) < 4 * spread


def test_probes_of_signs_are_exact_for_independent_pixels() -> None:
    """The Jacobian is diagonal there, and a sign's square is 1."""
    pixels = ByLevel(lambda x, sigma: 0.1 + 0.09 * (x - 0.1) / (0.09 + append_dims(sigma, x) ** 2))
    x = Stream(2).normal(3, 1, 4, 4).double()
    rng = ImageRng.counting(0, 3)
    one = ve_log_prob(pixels, x, high=80.0, probes=[draw_probe(x, rng)], tolerance=1e-6)
    torch.testing.assert_close(one.log_prob, ve_log_prob(pixels, x, high=80.0, tolerance=1e-6).log_prob)


# -- a mixture ------------------------------------------------------------------------------------------------------

WEIGHTS = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
MODES = torch.randn(4, 8, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def mixture(x: Tensor, sigma: Tensor) -> Tensor:
    v = 0.2**2 + sigma[:, None] ** 2  # (B, 1)
    share = (WEIGHTS.log() - (x[:, None] - MODES).square().sum(2) / (2 * v)).softmax(1)  # (B, 4)
    posterior = (0.2**2 * x[:, None] + sigma[:, None, None] ** 2 * MODES) / v[..., None]  # (B, 4, 8)
    return (share[..., None] * posterior).sum(1)


def test_the_density_of_a_mixture_is_found() -> None:
    rng, low = Stream(1), 0.002
    x = MODES[rng.integers(4, 24)] + 0.2 * rng.normal(24, 8).double()
    v = 0.2**2 + low**2
    exact = (WEIGHTS.log() - torch.cdist(x, MODES) ** 2 / (2 * v) - 4 * math.log(2 * math.pi * v)).logsumexp(1)
    for tolerance, within, calls in ((1e-5, 1e-3, 120), (1e-8, 1e-5, 350)):
        found = ve_log_prob(mixture, x, low=low, high=1e6, tolerance=tolerance)
        assert (found.log_prob - exact).abs().max() / 8 < within  # nats a dimension
        assert found.calls < calls


# -- of systems -----------------------------------------------------------------------------------------------------


class Pixels(nn.Module):
    """The velocity of independent pixels N(0.2, 0.3^2), which flow matching's network is to learn."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        t = append_dims(time / TIME_SCALE, x)
        x0 = 0.2 + (1 - t) * 0.09 * (x - (1 - t) * 0.2) / ((1 - t) ** 2 * 0.09 + t**2)
        return (x - x0) / t


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_flow_matching_tells_the_density_that_its_network_knows(off: type[torch.no_grad]) -> None:
    flow = FlowMatching(Shape(1, 4, 4), network={"kind": "dit", "patch": 2, "width": 8, "depth": 1, "heads": 1})
    flow.network = Pixels()
    assert "log_prob" in flow.can and flow.likelihood_of is Likelihood.DENSITY
    with off():
        image = Stream(0).normal(5, 1, 4, 4) * 0.3 + 0.2
        found = flow.log_prob(image, Stream(1))
    exact = Normal(0.2, math.hypot(0.3, LOW)).log_prob(image).flatten(1).sum(1)
    torch.testing.assert_close(found, exact, rtol=0, atol=16 * 3e-4)


def test_bits_of_pixels_that_are_even_are_eight() -> None:
    """Grey levels, each as likely as any other: 8 bits a value and no less, for a density that is even as well."""
    deviation = 2 / math.sqrt(12)
    even = FlowMatching(Shape(1, 4, 4), network={"kind": "dit", "patch": 2, "width": 8, "depth": 1, "heads": 1})

    class Even(nn.Module):
        def forward(self, x: Tensor, time: Tensor) -> Tensor:
            """E[x0 | x] of the uniform density on [-1, 1] under noise, by the moments of a truncated normal."""
            t = append_dims(time / TIME_SCALE, x).double()
            mean, s = x.double() / (1 - t).clamp(min=1e-9), t / (1 - t).clamp(min=1e-9)
            a, b = (-1 - mean) / s, (1 - mean) / s
            phi = lambda z: torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)  # noqa: E731
            mass = torch.special.ndtr(b) - torch.special.ndtr(a)
            x0 = (mean + s * (phi(a) - phi(b)) / mass.clamp(min=1e-300)).clamp(-1, 1)
            return ((x - x0) / t).to(x.dtype)

    even.network = Even()
    grey = Stream(0).integers(256, 64, 1, 4, 4).double() / 127.5 - 1
    inside = grey.clamp(-0.97, 0.97)  # where noise of 0.002 does not reach over the edge
    found = even.log_prob(dequantise(inside, Stream(1)), Stream(2))
    bits = bits_per_dim(found, 16)
    torch.testing.assert_close(bits, torch.full_like(bits, math.log2(255)), rtol=0, atol=0.01)
    assert deviation == pytest.approx(float(grey.std()), rel=0.05)


def test_the_flow_of_ddpm_beside_its_bound() -> None:
    """Of a network that knows independent pixels the flow tells the density; the bound loses what its steps cost."""
    ddpm = DDPM(Shape(1, 4, 4), width=8, multiples=(1, 2), blocks=1, attention=(), chain=200)

    class Knows(nn.Module):
        def forward(self, noisy: Tensor, time: Tensor) -> Tensor:
            t = time / (1000 / len(ddpm.path))
            a, s = append_dims(ddpm.path.alpha(t), noisy), append_dims(ddpm.path.std(t), noisy)
            return s * (noisy - a * 0.2) / (a**2 * 0.09 + s**2)

    ddpm.network = Knows()
    image = (Stream(0).normal(8, 1, 4, 4) * 0.3 + 0.2).clamp(-0.9, 0.9)
    image = quantise(image)
    with torch.no_grad():
        flow = ddpm.flow_log_prob(dequantise(image, Stream(1)), Stream(2))
        bound = torch.stack([ddpm.log_prob(image, Stream(k)) for k in range(4)]).mean(0)
    low = float(ddpm.path.sigmas[0])
    exact = Normal(0.2, math.hypot(0.3, low)).log_prob(image).flatten(1).sum(1)
    torch.testing.assert_close(flow, exact, rtol=0, atol=16 * 0.02)
    assert 0 < float((flow - bound).mean()) / 16 < 0.8  # nats a value: 200 steps, and a last one of deviation 0.02


@pytest.fixture(scope="module")
def plane() -> FlowMatching:
    """Flow matching of two numbers a picture, trained for some seconds on four spots of a plane."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = FlowMatching(Shape(2, 1, 1), network={"kind": "dit", "patch": 1, "width": 32, "depth": 1, "heads": 2})
    rng, spots = Stream(0), torch.tensor([[-0.5, -0.5], [-0.5, 0.6], [0.7, -0.3], [0.4, 0.5]])
    optimiser = torch.optim.Adam(flow.parameters(), 3e-3)
    for step in range(250):
        x = spots[rng.integers(4, 128)] + 0.15 * rng.normal(128, 2)
        loss = flow.match(Turn(Batch(x.view(-1, 2, 1, 1)), rng, step, step / 250))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return flow.eval().requires_grad_(False)


def test_the_density_of_a_trained_model_sums_to_one_and_is_that_of_its_draws(plane: FlowMatching) -> None:
    """Bits by the flow are those of a density that is summed up over the plane, cell by cell."""
    ends = torch.linspace(-1.6, 1.6, 25)
    cells = torch.stack(torch.meshgrid(ends, ends, indexing="ij"), -1).view(-1, 2, 1, 1)
    null = bind_condition(plane.denoise, plane.conditioner.null(len(cells)), conditional=False)
    density = straight_log_prob(null, cells, tolerance=1e-3).log_prob.exp()  # the divergence itself
    area = (3.2 / 24) ** 2
    assert float(density.sum()) * area == pytest.approx(1, abs=5e-3)
    drawn = plane.sample(Condition(), ImageRng.counting(0, 500), Sampling(steps=20, sampler="heun"))
    inside = (cells.abs() < 1).flatten(1).all(1)  # what is drawn is clamped
    kept = drawn[(drawn.abs() < 1).flatten(1).all(1)]
    of_draws = float(plane.log_prob(kept, Stream(0)).mean())
    mass = density[inside] / density[inside].sum()
    summed = float((mass * density[inside].log()).sum())  # its entropy, by the sum over cells
    assert of_draws == pytest.approx(summed, abs=0.1)  # nats; the standard error of 500 draws is 0.04


# -- where gradients are off, and bad input -------------------------------------------------------------------------


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_gradients_are_on_whatever_the_caller_switched_off(off: type[torch.no_grad]) -> None:
    x = drawn(2)
    wanted = ve_log_prob(gaussian, x, high=80.0, tolerance=1e-3).log_prob
    with off():
        found = ve_log_prob(gaussian, x * 1, high=80.0, tolerance=1e-3).log_prob
        with differentiable():
            assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    torch.testing.assert_close(found, wanted)
    assert not found.requires_grad


def test_bad_input() -> None:
    for low, high in ((0.0, 80.0), (2.0, 1.0)):
        with pytest.raises(UsageError, match="0 < low < high"):
            ve_log_prob(gaussian, drawn(), low=low, high=high)
        with pytest.raises(UsageError, match="0 < low < high"):
            flow_log_prob(gaussian, drawn(), low=low, high=high)
    with pytest.raises(UnknownName, match="rademacher"):
        draw_probe(drawn(), Stream(0), "rademachr")  # type: ignore[arg-type]


def test_the_flow_is_left_where_its_noise_is_that_of_dequantising() -> None:
    assert pytest.approx(math.sqrt(VARIANCE)) == LOW
