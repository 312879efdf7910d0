"""Ways from one latent to another.

Spherical interpolation: Shoemake 1985, "Animating rotation with quaternion curves"; of latents: White 2016, "Sampling
generative networks" (arXiv:1609.04468), section 2. Symbols -> code: q1, q2 -> a, b    mu -> t    theta -> angle
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zeuxis.errors import UsageError

PathName = Literal["linear", "spherical"]
STRAIGHT = 1e-4  # of an angle below which its sine says nothing
MOST_POINTS = 10_000  # of a way


def linear(a: Tensor, b: Tensor, t: float) -> Tensor:
    """(1 - t) a + t b."""
    return a + t * (b - a)


def spherical(a: Tensor, b: Tensor, t: float) -> Tensor:
    """sin((1 - t) theta) / sin(theta) a + sin(t theta) / sin(theta) b, theta the angle between them.

    Between independent normal latents all points are as far from the origin as those are, where the middle of a
    straight line is nearer than any that a generator was trained on.
    """
    cosine = torch.dot(a.flatten(), b.flatten()) / (a.norm() * b.norm()).clamp_min(torch.finfo(a.dtype).tiny)
    angle = float(cosine.clamp(-1, 1).acos())
    sine = float(torch.tensor(angle).sin())
    if sine < STRAIGHT:
        return linear(a, b, t)  # alike, or opposite: there is no one great circle
    one, other = torch.tensor([(1 - t) * angle, t * angle]).sin().tolist()
    return (one * a + other * b) / sine


PATHS: Mapping[str, Callable[[Tensor, Tensor, float], Tensor]] = {"linear": linear, "spherical": spherical}


def between(a: Tensor, b: Tensor, t: float, path: PathName, told: int = 0) -> Tensor:
    """The latent at ``t`` in [0, 1] of the way from ``a`` to ``b``; the last ``told`` numbers go straight always."""
    if not told:
        return PATHS[path](a, b, t)
    return torch.cat([PATHS[path](a[:-told], b[:-told], t), linear(a[-told:], b[-told:], t)])


@dataclass(frozen=True)
class Stop:
    """A point of a way: at ``t`` between the ``first``-th and the ``second``-th of the latents that it leads over."""

    first: int
    second: int
    t: float


def stops(ends: int, steps: int, loop: bool) -> list[Stop]:
    """The points of a way over so many latents, ``steps`` from each to the next; a loop ends a step before it began.

    Raises UsageError where there is no way.
    """
    if ends < 2:
        raise UsageError(f"a way leads over two latents or more, not {ends}: give more seeds or pictures")
    if steps < 1 or steps * ends > MOST_POINTS:
        raise UsageError(f"{steps} steps between each two of {ends}: give 1 or more, {MOST_POINTS:,} in all at most")
    legs = [(k, (k + 1) % ends) for k in range(ends if loop else ends - 1)]
    found = [Stop(a, b, k / steps) for a, b in legs for k in range(steps)]
    return found if loop else [*found, Stop(ends - 2, ends - 1, 1.0)]
