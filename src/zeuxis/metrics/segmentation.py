"""How well maps of classes agree: counted over all pixels of a set of pictures, a chunk at a time.

Axes: N pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.errors import UsageError


@dataclass(frozen=True)
class Overlap:
    """Shares in [0, 1].

    ``union`` has, for each class that occurs in either set of maps, the intersection over the union of
    its pixels (Everingham et al. 2010, the PASCAL VOC challenge, section 4.3); ``mean`` is their mean.
    """

    union: dict[str, float]
    mean: float
    pixels: float  # the share of pixels with the right class


class Confusion:
    """How many pixels of each target class (row) were predicted to be of each class (column).

    ``counts`` is int64 ``(K, K)`` for the K classes in ``names``; its length is the number of maps that were added.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.counts = torch.zeros(len(self.names), len(self.names), dtype=torch.int64)
        self.maps = 0

    def __len__(self) -> int:
        return self.maps

    def add(self, prediction: Tensor, target: Tensor) -> None:
        """Count maps ``prediction`` and ``target``, both ``(B, H, W)`` of integers in [0, K)."""
        if prediction.shape != target.shape or prediction.ndim != 3 or not prediction.numel():
            raise UsageError(f"maps {tuple(prediction.shape)} against {tuple(target.shape)}: want both (N, H, W)")
        classes = len(self.names)
        highest = max(int(prediction.max()), int(target.max()))
        if highest >= classes or min(int(prediction.min()), int(target.min())) < 0:
            raise UsageError(f"a map has class {highest}, outside the {classes} classes that are named")
        pairs = (target.long() * classes + prediction.long()).flatten()
        counts = torch.bincount(pairs, minlength=classes * classes).view(classes, classes)
        self.counts += counts.to(self.counts.device)
        self.maps += len(prediction)

    def overlap(self) -> Overlap:
        """Intersections over unions, and the share of right pixels, of all maps that were added."""
        table = self.counts.double()
        hit, union = table.diagonal(), table.sum(0) + table.sum(1) - table.diagonal()
        shares = {name: float(hit[k] / union[k]) for k, name in enumerate(self.names) if union[k] > 0}
        return Overlap(shares, sum(shares.values()) / len(shares), float(hit.sum() / table.sum()))
