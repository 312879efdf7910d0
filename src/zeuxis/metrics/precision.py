"""How much of what was generated looks real, and how much of what is real was generated.

Precision and recall: Kynkäänniemi et al. 2019, arXiv:1904.06991, Eqs. 1-2. Density and coverage:
Naeem et al. 2020, arXiv:2002.09797, Eqs. 4-5 (there with k = 5).

Axes: N and M pictures, D features, k neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.errors import UsageError
from zeuxis.metrics.checks import of_one_network
from zeuxis.metrics.distance import WIDE, Centred, blocks, exact_pairs, nearest_squared, squares

NEIGHBOURS = 3  # k


@dataclass(frozen=True)
class Support:
    """Shares in [0, 1], except density, which may exceed 1. Higher is better for all four."""

    precision: float  # of fakes within the real manifold
    recall: float  # of reals within the fake manifold
    density: float  # real balls around a fake, over k
    coverage: float  # of real balls that hold a fake
    k: int


def precision_recall(real: Tensor, fake: Tensor, k: int = NEIGHBOURS) -> Support:
    """Compare features ``(N, D)`` and ``(M, D)``, N and M above k.

    A set's manifold is the union of the closed balls around its points that reach their k-th nearest neighbour in the
    same set, the point itself not counted. A copy of a point is a neighbour of it, at distance 0: a point with k
    copies has a ball of radius 0, which holds exactly its copies, so pictures that repeat themselves cover nothing
    else. What lies at a ball's border, as a copy of the k-th neighbour does, is inside.
    """
    of_one_network(real, fake)
    if min(len(real), len(fake)) <= k:
        raise UsageError(f"{len(real)} and {len(fake)} images are too few for k = {k}: give more than {k} of each")
    real, fake = real.float(), fake.float()
    real_radius, fake_radius = _radius(real, k), _radius(fake, k)
    centre = real.mean(0)
    real_rows, fake_rows = Centred(real, centre), Centred(fake, centre)
    holders = torch.zeros(len(fake), dtype=torch.int64, device=real.device)  # real balls that hold each fake
    held = torch.zeros(len(real), dtype=torch.bool, device=real.device)  # reals that a fake ball holds
    covered = torch.zeros_like(held)  # reals whose ball holds a fake
    for r, rows in blocks(real):
        for f, columns in blocks(fake):
            of_r, of_f = slice(r, r + len(rows)), slice(f, f + len(columns))
            d, error = squares(real_rows[of_r], fake_rows[of_f])
            in_real = _inside(d, error, rows, columns, real_radius[of_r, None])
            in_fake = _inside(d, error, rows, columns, fake_radius[None, of_f])
            holders[of_f] += in_real.sum(0)
            covered[of_r] |= in_real.any(1)
            held[of_r] |= in_fake.any(1)
    return Support(
        precision=float((holders > 0).double().mean()),
        recall=float(held.double().mean()),
        density=float(holders.double().mean() / k),
        coverage=float(covered.double().mean()),
        k=k,
    )


def _radius(x: Tensor, k: int) -> Tensor:
    """The squared distance (N,) of each row to its k-th nearest neighbour."""
    return nearest_squared(x, blocks(x, WIDE), k, len(x), skip_self=True)[0][:, -1]


def _inside(d: Tensor, error: float, rows: Tensor, columns: Tensor, radius: Tensor) -> Tensor:
    """Which squared distances ``d (B, N)``, wrong by ``error`` at most, are within the squared ``radius``: exactly."""
    inside = d <= (radius - error).float()
    r, c = ((d <= (radius + error).float()) ^ inside).nonzero(as_tuple=True)  # a few: those that rounding decides
    inside[r, c] = exact_pairs(rows, columns, r, c) <= radius.expand_as(d)[r, c]
    return inside
