"""Convolutions of 3x3 whose picture doubles before them or halves after them, in one pass each.

A nearest-neighbour doubling repeats every pixel, so a 3x3 window over it holds four different ones: 4 products an
output in place of 9. A mean of four outputs is likewise one 4x4 convolution of stride 2. Same results, half the time on
a processor (Karras et al. 2017, 1710.10196, in whose program they are called fused).

Axes: I and O channels in and out, k side of a kernel.
"""

from __future__ import annotations

from enum import Enum

from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, pad


class Resample(Enum):
    """What happens to the picture beside the convolution."""

    NONE = "none"
    DOUBLE = "double"  # every pixel is repeated, before it
    HALVE = "halve"  # the mean of each 2x2, after it


def conv2d_resampled(x: Tensor, weight: Tensor, bias: Tensor | None, how: Resample) -> Tensor:
    """``(B, I, H, W)`` under ``weight`` ``(O, I, k, k)``, zeros around, to ``(B, O, H, W)``, ``2H`` or ``H/2``; k is 3
    where the size changes."""
    if how is Resample.DOUBLE:
        kernel = _box(weight.flip(2, 3)).transpose(0, 1)
        return conv_transpose2d(x, kernel, bias, stride=2, padding=1)
    if how is Resample.HALVE:
        return conv2d(x, _box(weight) / 4, bias, stride=2, padding=1)
    return conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def _box(weight: Tensor) -> Tensor:
    """3x3 kernels, and the same a pixel to the right, below, and both, added up: 4x4."""
    wide = pad(weight, (1, 1, 1, 1))
    return wide[..., 1:, 1:] + wide[..., :-1, 1:] + wide[..., 1:, :-1] + wide[..., :-1, :-1]
