"""Functions made of sums, products and quotients, so that an example gets the same bits in any batch.

The sines and exponentials of a processor's vector units may differ in their last bit from those that finish a row,
so what a picture holds would depend on where in a batch it stands. Additions, products, quotients, square roots,
minima and maxima are correctly rounded everywhere.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

import torch
from torch import Tensor

HALVINGS = 8  # of an exponent, before its series and the squarings that undo them
TERMS = 12  # of that series
QUANTILES = 4096  # of the normal distribution: 12 of the 24 bits of a uniform number choose one


def sine(turns: Tensor) -> Tensor:
    """The sine of angles in whole turns, to within 0.0011: a parabola, bent by its own square."""
    f = turns - (turns + 0.5).floor()  # [-0.5, 0.5)
    y = 8 * f - 16 * f * f.abs()
    return y * (0.775 + 0.225 * y.abs())


def cosine(turns: Tensor) -> Tensor:
    """The cosine of angles in whole turns, to within 0.0011."""
    return sine(turns + 0.25)


def bearing(x: Tensor, y: Tensor) -> Tensor:
    """The angle of (x, y) in turns [0, 1], clockwise from straight up where y points down; to within 0.0007."""
    ax, ay = x.abs(), y.abs()
    small = torch.minimum(ax, ay) / torch.maximum(ax, ay).clamp_(min=1e-12)
    octant = small * (0.25 / 2 + (0.273 / (2 * math.pi)) * (1 - small))  # from the nearer axis
    quarter = torch.where(ax > ay, 0.25 - octant, octant)  # from the vertical
    half = torch.where(y > 0, 0.5 - quarter, quarter)
    return torch.where(x < 0, 1 - half, half)


def decay(x: Tensor) -> Tensor:
    """exp(-x) of ``x`` in [0, 60], float64, to within 1e-11 of itself."""
    step = x.double() * -(0.5**HALVINGS)
    series = torch.ones_like(step)
    for k in range(TERMS, 0, -1):
        series = 1 + series * step / k  # Horner: 1 + s/1 (1 + s/2 (1 + ...))
    for _ in range(HALVINGS):
        series = series * series
    return series


@cache
def quantiles() -> Tensor:
    """Equally likely values ``(QUANTILES,)`` of a standard normal variable, of mean 0 and variance 1."""
    normal = NormalDist()
    values = [normal.inv_cdf((k + 0.5) / QUANTILES) for k in range(QUANTILES)]
    spread = math.sqrt(math.fsum(v * v for v in values) / QUANTILES)
    return torch.tensor([v / spread for v in values])


def normals(u: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent standard normal numbers from each uniform one of 24 bits, from a table."""
    table = quantiles().to(u.device)
    scaled = u * QUANTILES
    upper = scaled.floor()
    lower = (scaled - upper) * QUANTILES
    return table[upper.int()], table[lower.int()]
