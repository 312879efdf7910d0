"""The gradient difference loss: how much the slopes of a picture differ in size from those of another.

Mathieu, Couprie & LeCun 2016, "Deep multi-scale video prediction beyond mean square error" (arXiv:1511.05440), section
2.2.2, Eq. 6. Blurred pictures have small slopes, whatever is unsure, and this loss says so where a squared error is at
its least.
"""

from __future__ import annotations

from torch import Tensor


def gradient_difference(image: Tensor, target: Tensor, alpha: float = 1.0) -> Tensor:
    """Mean ||Y_i,j - Y_i-1,j| - |P_i,j - P_i-1,j||^alpha, the same along rows, and their sum; ``(B, C, H, W)`` both.

    Means in place of the paper's sums, as in the authors' program, so that it weighs as much at every size.
    """
    down, across = (_slopes(image.float(), axis) - _slopes(target.float(), axis) for axis in (2, 3))
    return down.abs().pow(alpha).mean() + across.abs().pow(alpha).mean()


def _slopes(x: Tensor, axis: int) -> Tensor:
    """|x_k - x_k-1| along an axis."""
    return x.diff(dim=axis).abs()
