"""Gradient noise (Perlin 1985, doi:10.1145/325165.325247; improved 2002, doi:10.1145/566654.566636).

A random unit vector stands at every point of the integer lattice. Between the points, each corner of a cell
contributes the dot product of its vector with the offset from it, blended by a curve that is flat at both ends. So the
noise is zero at every lattice point, smooth, and a function of seed and position alone.

Axes: n coordinates.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zeuxis.counter import mix

Period = int | Sequence[int] | None  # lattice points after which it repeats, along every axis or along each
DIRECTIONS = 256  # of the plane's unit vectors
EDGES = torch.tensor(
    [
        *[(x, y, 0.0) for x in (1.0, -1.0) for y in (1.0, -1.0)],
        *[(x, 0.0, z) for x in (1.0, -1.0) for z in (1.0, -1.0)],
        *[(0.0, y, z) for y in (1.0, -1.0) for z in (1.0, -1.0)],
    ]
) / math.sqrt(2)  # space: the midpoints of a cube's twelve edges (2002, Section 3)
_TURNS = torch.arange(DIRECTIONS) * (2 * math.pi / DIRECTIONS)
VECTORS = {2: torch.stack([_TURNS.cos(), _TURNS.sin()], 1), 3: EDGES}


def noise(seed: Tensor, axes: Sequence[Tensor], period: Period = None) -> Tensor:
    """Noise in [-1, 1] on a grid: ``(B, len(axes[0]), len(axes[1]), ...)``, float32.

    Args:
        seed: int64 ``(B,)``.
        axes: two or three tensors of coordinates; the lattice points are the integers.
        period: the lattice repeats after so many points along every axis, or along each; None never does.
    """
    n = len(axes)
    floors = [axis.floor().long() for axis in axes]
    spans = [torch.cat([f, f + 1]).unique() for f in floors]  # those points that some cell has: a fine lattice has more
    lattice = _lattice(seed, spans, period)  # (B, ..., n)
    ways = [axis - f for axis, f in zip(axes, floors, strict=True)]  # in [0, 1): from the lower lattice point
    total = torch.zeros((), device=seed.device)
    for corner in itertools.product((0, 1), repeat=n):
        vector = lattice
        for k, (floor, span, step) in enumerate(zip(floors, spans, corner, strict=True)):
            vector = vector.index_select(1 + k, torch.searchsorted(span, floor + step))
        dot, weight = torch.zeros((), device=seed.device), torch.ones((), device=seed.device)
        for k, (way, step) in enumerate(zip(ways, corner, strict=True)):
            shape = [1] * (n + 1)
            shape[1 + k] = -1
            dot = dot + vector[..., k] * (way - step).view(shape)
            weight = weight * (fade(way) if step else 1 - fade(way)).view(shape)
        total = total + weight * dot
    return total * (2 / math.sqrt(n))


def fade(t: Tensor) -> Tensor:
    """6 t^5 - 15 t^4 + 10 t^3: from 0 to 1, with no slope and no bend at either end (2002, Section 2)."""
    return t * t * t * (t * (t * 6 - 15) + 10)


def fractal(seed: Tensor, axes: Sequence[Tensor], octaves: int, gain: float = 0.5, period: Period = None) -> Tensor:
    """``octaves`` of noise, each twice as fine as the last and ``gain`` times as strong, in [-1, 1].

    Seeds that follow one another share layers, the second of the one being the first of the next: give drawn ones, or
    bring them through :func:`zeuxis.counter.mix`. The power spectrum falls as ``frequency ** slope(gain)`` between the
    coarsest and the finest octave.
    """
    total, strength = torch.zeros((), device=seed.device), 0.0
    periods = None if period is None else _of_axes(period, len(axes))
    for k in range(octaves):
        own = mix(seed + k)
        layer = noise(own, [axis * 2**k for axis in axes], None if periods is None else [p * 2**k for p in periods])
        total, strength = total + gain**k * layer, strength + gain**k
    return total / strength


def spectral_slope(gain: float) -> float:
    """Of the power spectrum in the plane: octave k has the power gain^2k, spread over 4^k times the frequencies."""
    return 2 * math.log2(gain) - 2


def _of_axes(period: int | Sequence[int], n: int) -> Sequence[int]:
    return [period] * n if isinstance(period, int) else period


def _lattice(seed: Tensor, spans: Sequence[Tensor], period: Period) -> Tensor:
    """The vectors at the lattice points of ``spans``, ``(B, len, len, ..., n)``."""
    code = mix(seed)
    periods = None if period is None else _of_axes(period, len(spans))
    for k, span in enumerate(spans):
        points = span.to(seed.device)
        points = points if periods is None else points.remainder(periods[k])
        code = mix(code[..., None] + points + 1)
    table = VECTORS[len(spans)].to(seed.device)
    return table[(code >> 33).remainder(len(table))]
