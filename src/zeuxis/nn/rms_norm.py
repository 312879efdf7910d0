"""Root mean square normalisation with a gradient by hand (Zhang & Sennrich 2019, arXiv:1910.07467, Eq. 4).

Torch has no fused kernel of it for processors: its own takes three times as long there as a layer norm.

Axes: D numbers that are normalised together.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

EPSILON = 1e-5


class _Normalise(torch.autograd.Function):
    """x / RMS(x) over the last axis, in as few passes over memory as it takes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)  # in half precision squares overflow
        squares = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide).square_()  # (..., 1)
        inverse = squares.div_(x.shape[-1]).add_(EPSILON).rsqrt_()
        y = (x * inverse).to(x.dtype)
        ctx.save_for_backward(y, inverse)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        """(dy - y mean(dy y)) / RMS(x)."""
        y, inverse = ctx.saved_tensors
        along = (slope.unsqueeze(-2) @ y.unsqueeze(-1)).squeeze(-1)  # (..., 1): a product writes no third tensor
        return torch.addcmul(slope, y, along, value=-1 / y.shape[-1]).mul_(inverse)


class RMSNorm(nn.Module):
    """``(..., D)`` divided by its root mean square, times a gain for each of the D; in the input's precision."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))  # the gain

    def forward(self, x: Tensor) -> Tensor:
        return self.bare(x) * self.weight

    def into(self, linear: nn.Linear, x: Tensor, times: float = 1.0) -> Tensor:
        """``times linear(self(x))`` of a layer without bias."""
        return scaled_linear(self.bare(x), linear.weight, times * self.weight)

    @staticmethod
    def bare(x: Tensor) -> Tensor:
        """``x`` (..., D) normalised, without the gain."""
        out: Tensor = _Normalise.apply(x)
        return out


def scaled_linear(x: Tensor, weight: Tensor, scale: Tensor | float) -> Tensor:
    """``weight (scale x)`` of inputs ``(..., D)``, ``scale`` being one number or ``(D,)``: the smaller tensor of the
    two, inputs or weight, is what is scaled."""
    return F.linear(x, weight * scale) if x.numel() > weight.numel() else F.linear(x * scale, weight)
