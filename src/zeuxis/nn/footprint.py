"""How much memory drawing takes, told before it begins: exact for weights, an estimate for what networks work with.

The estimates were measured on a CPU in float32: what a pass holds at its largest, over the cells (or pixels) of its
finest level and its channels there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

GIB = 2**30


@dataclass(frozen=True)
class Footprint:
    """Bytes. ``together`` says whether the parts' weights are there at the same time."""

    weights: Mapping[str, int]  # of each part
    working: Mapping[str, int]  # what each part holds besides while it computes
    together: bool

    @property
    def peak(self) -> int:
        """The most at any time."""
        kept = sum(self.weights.values())
        return max((kept if self.together else self.weights[name]) + self.working[name] for name in self.weights)

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {size / GIB:.2g}" for name, size in self.weights.items())
        how = "kept together" if self.together else "one after another"
        return f"about {self.peak / GIB:.2g} GiB of memory at most (weights: {parts}, {how})"


def weights(part: nn.Module, dtype: torch.dtype | None) -> int:
    """Bytes of the parameters of ``part`` with matrices in ``dtype`` (None: float32) and vectors in float32."""
    width = (dtype or torch.float32).itemsize
    return sum(p.numel() * (width if p.ndim > 1 else 4) for p in part.parameters())
