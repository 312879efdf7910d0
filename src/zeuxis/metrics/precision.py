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
from zeuxis.metrics.distance import blocks, distances, nearest


@dataclass(frozen=True)
class Support:
    """Shares in [0, 1], except density, which may exceed 1. Higher is better for all four."""

    precision: float  # of fakes within the real manifold
    recall: float  # of reals within the fake manifold
    density: float  # real balls around a fake, over k
    coverage: float  # of real balls that hold a fake
    k: int


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> Support:
    """Compare features ``(N, D)`` and ``(M, D)``, N and M above k.

    A set's manifold is the union of the balls around its points that reach their k-th nearest
    neighbour in the same set, the point itself not counted.
    """
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise UsageError(f"features {tuple(real.shape)} and {tuple(fake.shape)}: use one feature network for both")
    if min(len(real), len(fake)) <= k:
        raise UsageError(f"{len(real)} and {len(fake)} images are too few for k = {k}: give more than {k} of each")
    centre = real.double().mean(0)  # distances do not change, their cancellation errors shrink
    real, fake = real.double() - centre, fake.double() - centre
    real_radius, fake_radius = (nearest(x, x, k, skip_self=True)[0][:, -1] for x in (real, fake))

    holders = torch.zeros(len(fake), device=real.device)  # real balls that hold each fake
    held = torch.zeros(len(real), dtype=torch.bool, device=real.device)  # reals that a fake ball holds
    covered = torch.zeros_like(held)  # reals whose ball holds a fake
    for r, rows in blocks(real):
        for f, columns in blocks(fake):
            d = distances(rows, columns)
            of_r, of_f = slice(r, r + len(rows)), slice(f, f + len(columns))
            in_real = d <= real_radius[of_r, None]
            holders[of_f] += in_real.sum(0)
            covered[of_r] |= in_real.any(1)
            held[of_r] |= (d <= fake_radius[None, of_f]).any(1)
    return Support(
        precision=float((holders > 0).float().mean()),
        recall=float(held.float().mean()),
        density=float(holders.mean() / k),
        coverage=float(covered.float().mean()),
        k=k,
    )
