"""Sums over all that belongs to one picture."""

from __future__ import annotations

from torch import Tensor


def per_image(x: Tensor) -> Tensor:
    """``(B, ...)`` summed over every axis but the first: ``(B,)``."""
    return x.flatten(1).sum(1)
