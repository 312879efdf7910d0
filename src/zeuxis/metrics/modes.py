"""How many modes a model found of data whose modes are known.

Srivastava et al. 2017, "VEEGAN" (arXiv:1705.07761), section 4.1: a point is near a mode within three standard
deviations of its centre. There one such point makes a mode found; here a fifth of its share does, for a stray point on
its way between two modes is no find.

Axes: N points, K modes, D numbers of a point.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NEAR = 3.0  # standard deviations
FOUND = 0.2  # of a mode's share of the points, from which on it counts as found


@dataclass(frozen=True)
class Modes:
    """``found`` of ``known`` modes, the share ``near`` any of them, and the share of points near each ``(K,)``."""

    found: int
    known: int
    near: float
    shares: Tensor


def modes(points: Tensor, centres: Tensor, std: float) -> Modes:
    """Of points ``(N, D)`` from modes of equal weight around ``centres`` ``(K, D)``, each of deviation ``std``."""
    distance, which = torch.cdist(points.double(), centres.double()).min(1)
    near = distance < NEAR * std
    shares = torch.bincount(which[near], minlength=len(centres)).double() / max(1, len(points))
    found = int((shares >= FOUND / len(centres)).sum())
    return Modes(found, len(centres), float(near.double().mean()), shares)
