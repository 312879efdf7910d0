"""Langevin dynamics: walk downhill on an energy and be jostled on the way.

x <- x - rate E'(x) + noise z, z standard normal (Roberts & Tweedie 1996, doi:10.2307/3318418, who call it the
unadjusted algorithm). With noise^2 = 2 rate T it draws from exp(-E(x) / T) as ``rate`` goes to 0; the texts write
epsilon^2 / 2 for the rate and epsilon for the noise, which is T = 1. At a finite rate it is a little off: on
E(x) = x^2 / 2 s^2 by the factor of :func:`excess`, exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zeuxis.rng import Rng, normal_like
from zeuxis.steps import each_step

Slope = Callable[[Tensor], Tensor]  # E'(x), of x's shape (B, ...)


def langevin(
    slope: Slope, x: Tensor, rng: Rng, *, steps: int, rate: float, noise: float, within: float | None = None
) -> Tensor:
    """``x`` (B, ...) after ``steps`` steps; after each it is clamped to [-``within``, ``within``], if that is given."""
    for _ in each_step(range(steps)):
        x = x - rate * slope(x) + noise * normal_like(x, rng)
        if within is not None:
            x = x.clamp(-within, within)
    return x


def temperature(rate: float, noise: float) -> float:
    """T of the distribution exp(-E / T) that small steps of that ratio draw from."""
    return noise**2 / (2 * rate)


def excess(rate: float, variance: float) -> float:
    """By what factor the stationary variance of the walk on E(x) = x^2 / 2 ``variance`` exceeds T ``variance``.

    The walk is x <- (1 - h) x + noise z with h = rate / variance, so its variance is noise^2 / (1 - (1 - h)^2).
    """
    return 1 / (1 - rate / (2 * variance))


def slope_of(energy: Callable[[Tensor], Tensor]) -> Slope:
    """E'(x) of an ``energy`` (B, ...) -> (B,), by automatic differentiation: also where gradients are switched off."""

    def slope(x: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            at = x.detach().clone().requires_grad_(True)
            (found,) = torch.autograd.grad(energy(at).sum(), at)
        return found

    return slope
