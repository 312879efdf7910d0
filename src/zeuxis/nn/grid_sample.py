"""Bilinear sampling of pictures at given points, twice differentiable by the picture.

torch has no second derivative of its own ``grid_sample``. It is linear in the picture, and so is its gradient: each is
the other's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import grid_sample


def sample_at(image: Tensor, grid: Tensor) -> Tensor:
    """``image`` ``(B, C, H, W)`` at points ``grid`` ``(B, h, w, 2)``, x before y, from -1 to 1 between outer edges.

    Beyond the edges it is 0. Gradients flow to ``image``, and none to ``grid``.
    """
    out: Tensor = _Sample.apply(image, grid.detach())
    return out


class _Sample(Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = image.shape
        return grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        spread: Tensor = _Spread.apply(grad, grid, ctx.shape)
        return spread, None


class _Spread(Function):
    """The transpose of sampling: each value goes to the four pixels about its point."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        image = grad.new_zeros(()).expand(shape)  # only its shape is read
        backward = torch.ops.aten.grid_sampler_2d_backward.default
        spread: Tensor = backward(grad, image, grid, 0, 0, False, [True, False])[0]
        return spread

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Sample.apply(grad, grid), None, None
