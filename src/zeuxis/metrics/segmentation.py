"""How well maps of classes agree: counted over all pixels of a set of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.errors import UsageError

CHUNK = 1024  # maps that are counted together


@dataclass(frozen=True)
class Overlap:
    """Shares in [0, 1].

    ``union`` has, for each class that occurs in either set of maps, the intersection over the union of
    its pixels (Everingham et al. 2010, the PASCAL VOC challenge, section 4.3); ``mean`` is their mean.
    """

    union: dict[str, float]
    mean: float
    pixels: float  # the share of pixels with the right class


def overlap(found: Tensor, wanted: Tensor, names: Sequence[str]) -> Overlap:
    """Compare maps of classes ``found`` and ``wanted``, both ``(N, H, W)`` of integers in [0, K)."""
    if found.shape != wanted.shape or found.ndim != 3 or not found.numel():
        raise UsageError(f"maps {tuple(found.shape)} against {tuple(wanted.shape)}: want both (N, H, W)")
    table = confusion(found, wanted, len(names)).double()
    hit, union = table.diagonal(), table.sum(0) + table.sum(1) - table.diagonal()
    shares = {name: float(hit[k] / union[k]) for k, name in enumerate(names) if union[k] > 0}
    return Overlap(shares, sum(shares.values()) / len(shares), float(hit.sum() / table.sum()))


def confusion(found: Tensor, wanted: Tensor, classes: int) -> Tensor:
    """How many pixels of each wanted class (row) were found to be of each class (column), int64 ``(K, K)``."""
    highest = max(int(found.max()), int(wanted.max()))
    if highest >= classes or min(int(found.min()), int(wanted.min())) < 0:
        raise UsageError(f"a map has class {highest}, outside the {classes} classes that are named")
    table = torch.zeros(classes * classes, dtype=torch.int64)
    for f, w in zip(found.split(CHUNK), wanted.split(CHUNK), strict=True):
        table += torch.bincount((w.long() * classes + f.long()).flatten(), minlength=classes * classes)
    return table.view(classes, classes)
