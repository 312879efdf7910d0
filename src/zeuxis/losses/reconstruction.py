"""Distances between a picture and its reconstruction: scalars, means over every element."""

from __future__ import annotations

from torch import Tensor


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean |x - y|."""
    return (x.float() - y.float()).abs().mean()


def l2(x: Tensor, y: Tensor) -> Tensor:
    """Mean (x - y)^2."""
    return (x.float() - y.float()).square().mean()


def charbonnier(x: Tensor, y: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean sqrt((x - y)^2 + epsilon^2): l1 with a smooth bottom (Charbonnier et al. 1994; Lai et al. 2017)."""
    return ((x.float() - y.float()).square() + epsilon**2).sqrt().mean()
