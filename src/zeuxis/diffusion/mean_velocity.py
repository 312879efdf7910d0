"""Sampling with mean velocities: what carries a picture over a whole stretch of the straight path in one step.

The straight path is ``z_t = (1 - t) x + t e``, t in [0, 1] growing with noise. Along the curves that its velocity
``v(z, t)`` draws, the mean velocity over a stretch is ``u(z_t, t, span) = (z_t - z_{t - span}) / span``
(Geng et al. 2025, arXiv:2505.13447, Eq. 3), so that one step over it is exact whatever its length; where the span is 0
it is ``v`` itself, of which :func:`instant_denoiser` makes a denoiser as of any other flow.

Legend: B images (B, C, H, W); t and span are (B,), or plain numbers where they are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from zeuxis.diffusion.path import Level, Straight, append_dims
from zeuxis.diffusion.sampler import ByLevel

MeanVelocity = Callable[[Tensor, Any, Any], Tensor]  # of z_t, t and span


def walk(velocity: MeanVelocity, noise: Tensor, times: Tensor) -> Tensor:
    """From ``noise`` to a picture in one step between each two of the descending ``times`` (N + 1,), from 1 to 0."""
    x = noise
    for now, after in pairwise(times.tolist()):
        x = torch.add(x, velocity(x, now, now - after).to(x.dtype), alpha=after - now)
    return x


def instant_denoiser(velocity: MeanVelocity) -> ByLevel:
    """The denoiser, in VE space, of the velocity at a span of 0: x0 = z_t - t v."""
    path = Straight()

    def denoise(x: Tensor, sigma: Level) -> Tensor:
        t = path.time(sigma)
        z = x / append_dims(1 + sigma, x)
        return z - append_dims(t, x) * velocity(z, t, 0 * t)

    return ByLevel(denoise)
