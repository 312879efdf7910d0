"""Distances between a picture and its reconstruction: scalars, means over every element."""

from __future__ import annotations

from torch import Tensor


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean |x - y|."""
    return (x.float() - y.float()).abs().mean()


def l2(x: Tensor, y: Tensor) -> Tensor:
    """Mean (x - y)^2."""
    return (x.float() - y.float()).square().mean()
