"""The exact likelihood of a diffusion model: of the flow that carries its noise to images without a further draw.

Chen et al. 2018, "Neural ordinary differential equations", arXiv:1806.07366, Theorem 1; Song et al. 2021, "Score-based
generative modeling through stochastic differential equations", arXiv:2011.13456, Section 4.3 and Eq. 39; Grathwohl et
al. 2019, "FFJORD", arXiv:1810.01367, for the estimate of the divergence.

    dx/dt = v(x, t)         log p(x(low)) = log p(x(high)) + integral from low to high of div v(x(t), t) dt

Paper -> code: f-tilde(x, t) -> velocity, T -> high, p_T -> the prior N(0, ``prior``^2), epsilon -> a probe,
epsilon^T grad f -> a vector-Jacobian product.

Whatever the path, the flow is solved on the straight one, ``x = (1 - t) x0 + t e``, where it is smooth and of the order
of 1 from end to end: to the same error that takes half as many calls as in VE space, in sigma or in its logarithm. The
state is x and the log-density gathered so far, in nats a dimension, each held to the tolerance
(:mod:`zeuxis.diffusion.ode`).

Guidance and clamping have no place here: a guided denoiser is that of no density, and a clamped one loses its slope.
Everything runs with gradients on, also within ``torch.no_grad`` or ``torch.inference_mode``; a denoiser that is made
there must be made within :func:`differentiable`, for what is computed in inference mode takes no part in gradients.

At a time of 0 pictures are grey levels, infinitely dense on a set without volume. The flow is left at :data:`LOW`:
where its noise has the variance that :func:`zeuxis.distributions.dequantise.dequantise` adds to a picture.

Legend: B images x (B, ...) of d values each; times and levels (B,); K probes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zeuxis.diffusion.ode import State, dormand_prince
from zeuxis.diffusion.path import append_dims
from zeuxis.diffusion.sampler import Denoise
from zeuxis.errors import UsageError, lookup
from zeuxis.rng import Rng, normal_like

Velocity = Callable[[Tensor, Tensor], Tensor]  # v (B, ...) of x (B, ...) at times (B,)
Probes = Sequence[Tensor] | None  # each of x's shape, one suffices; None: the divergence itself, d products a call
LOW = 2 / 255 / math.sqrt(12)  # 0.00226, a sigma: of pictures in [-1, 1] with 256 grey levels
TOLERANCE = 1e-4  # of trained networks, within 0.01 bits a value; at 1e-5 (Song et al. 2021) three times the calls


@dataclass(frozen=True, eq=False)
class FlowDensity:
    """``log_prob`` in nats (B,), where the images are carried to (B, ...), and how often the network was called.

    The ``latent`` lies on the straight path, at ``high``: in VE space it is 1 + sigma times as much.
    """

    log_prob: Tensor
    latent: Tensor
    calls: int


@contextmanager
def differentiable() -> Iterator[None]:
    """Gradients on, whatever the caller switched off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def draw_probe(x: Tensor, rng: Rng, kind: Literal["rademacher", "normal"] = "rademacher") -> Tensor:
    """A probe of ``x``'s shape and dtype, of mean 0 and covariance 1; one of signs has the smaller variance."""
    return lookup("probe", kind, _PROBES)(x, rng)


def ve_log_prob(
    denoise: Denoise,
    x: Tensor,
    *,
    high: float,
    low: float = LOW,
    prior: float | None = None,
    probes: Probes = None,
    tolerance: float = TOLERANCE,
) -> FlowDensity:
    """The log-density at ``x`` (B, ...) of pictures under noise of the level ``low``, by ``denoise(x, sigma) -> x0``.

    ``high`` is the largest level, at which the density is taken to be N(0, ``prior``^2); by default ``prior`` is
    ``high``, and it is sqrt(1 + high^2) for a chain that begins with a normal draw.
    """

    def straight(x: Tensor, t: Tensor) -> Tensor:
        return denoise(x / append_dims(1 - t, x), t / (1 - t))

    of_path = (high if prior is None else prior) / (1 + high)
    return _picture_log_prob(straight, x, low, high / (1 + high), of_path, probes, tolerance)


def straight_log_prob(
    denoise: Denoise, x: Tensor, *, low: float = LOW, probes: Probes = None, tolerance: float = TOLERANCE
) -> FlowDensity:
    """The same by a denoiser on the straight path, ``denoise(x, t) -> x0``, which is flow matching's.

    Its flow begins in pure noise, so that nothing is neglected there.
    """
    return _picture_log_prob(denoise, x, low, 1.0, 1.0, probes, tolerance)


def _picture_log_prob(
    straight: Denoise, x: Tensor, low: float, high: float, prior: float, probes: Probes, tolerance: float
) -> FlowDensity:
    """By a denoiser on the straight path, from the level ``low`` to the time ``high``; x is x0 + low e, unscaled."""
    _check(low, high / (1 - high) if high < 1 else math.inf)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return (x - straight(x, t)) / append_dims(t, x)

    found = flow_log_prob(
        velocity, x / (1 + low), low=low / (1 + low), high=high, prior=prior, probes=probes, tolerance=tolerance
    )
    shrunk = math.prod(x.shape[1:]) * math.log1p(low)  # x / (1 + low) takes up less room than x
    return FlowDensity(found.log_prob - shrunk, found.latent, found.calls)


def flow_log_prob(
    velocity: Velocity,
    x: Tensor,
    *,
    low: float,
    high: float = 1.0,
    prior: float = 1.0,
    probes: Probes = None,
    tolerance: float = TOLERANCE,
) -> FlowDensity:
    """The log-density at ``x`` (B, ...), where the flow dx/dt = ``velocity`` has come at ``low`` from N(0, ``prior``^2)
    at ``high``."""
    _check(low, high)
    dims = math.prod(x.shape[1:])

    def slope(state: State, t: Tensor) -> State:
        v, divergence = _with_divergence(velocity, state[0], t.to(x.dtype), probes)
        return v, divergence[:, None] / dims

    with differentiable():
        start = x.detach().clone(), x.new_zeros(len(x), 1)
        solved = dormand_prince(slope, start, low, high, tolerance=tolerance)
    latent, gathered = solved.state
    density = -0.5 * _per_image((latent / prior).square()) - dims * (math.log(prior) + 0.5 * math.log(2 * math.pi))
    return FlowDensity(density + dims * gathered[:, 0], latent, solved.calls)


def _with_divergence(velocity: Velocity, x: Tensor, t: Tensor, probes: Probes) -> tuple[Tensor, Tensor]:
    """v (B, ...) and its divergence (B,): the sum of J_ii, or the mean of e^T J e over the probes (FFJORD, Eq. 7)."""
    at = x.detach().requires_grad_(True)
    v = velocity(at, t)
    if probes is None:
        basis = torch.eye(math.prod(x.shape[1:]), dtype=x.dtype, device=x.device).reshape(-1, 1, *x.shape[1:])
        products = [_per_image(e * _vjp(v, at, e.expand_as(x))) for e in basis]
        return v.detach(), torch.stack(products).sum(0)
    return v.detach(), torch.stack([_per_image(e * _vjp(v, at, e)) for e in probes]).mean(0)


def _vjp(v: Tensor, at: Tensor, e: Tensor) -> Tensor:
    """e^T dv/dx (B, ...)."""
    (product,) = torch.autograd.grad(v, at, e, retain_graph=True)
    return product


def _per_image(x: Tensor) -> Tensor:
    return x.flatten(1).sum(1)


def _check(low: float, high: float) -> None:
    if not 0 < low < high:
        raise UsageError(f"a flow from {low:g} to {high:g}: a likelihood needs 0 < low < high")


def _signs(x: Tensor, rng: Rng) -> Tensor:
    return (2 * rng.integers(2, *x.shape, device=x.device) - 1).to(x.dtype)


_PROBES: dict[str, Callable[[Tensor, Rng], Tensor]] = {
    "rademacher": _signs,
    "normal": lambda x, rng: normal_like(x, rng),
}
