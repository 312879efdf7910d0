"""DRAW's selective attention: a grid of Gaussian filters that reads a patch off a picture, or writes one onto it.

Gregor et al. 2015, "DRAW: A recurrent neural network for image generation" (1502.04623), section 3.2.
Symbols -> code (N x N filters on pictures of B rows and A columns):
    g_X, g_Y -> Window.column, Window.row    delta -> Window.stride    sigma^2 -> Window.variance
    gamma -> Window.strength    F_X, F_Y -> filter_bank    read -> Glimpse    write -> Writer
Places are counted from 0 here, from 1 in the paper.

Axes: N filters of an axis, D width of the state.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from zeuxis.batch import Shape

FURTHEST = 4.0  # the logarithms of a window stay within this: variances from 1/55 to 55 square pixels


class Window(NamedTuple):
    """Where a grid of filters lies on each of B pictures; every field ``(B,)``, lengths in pixels."""

    row: Tensor  # of the grid's centre; 0 is the first row's middle
    column: Tensor
    stride: Tensor  # between neighbouring filters
    variance: Tensor  # of each filter
    strength: Tensor  # that what is read is multiplied by, and what is written divided by


def window(params: Tensor, filters: int, shape: Shape) -> Window:
    """A network's output ``(B, 5)`` as a window; zeros are one that spans the picture (Eqs. 21 to 24)."""
    column, row, variance, stride, strength = params.float().unbind(1)
    variance, stride, strength = (
        (FURTHEST * (log / FURTHEST).tanh()).exp() for log in (variance, stride, strength)
    )  # fmt: skip
    widest = (max(shape.height, shape.width) - 1) / max(filters - 1, 1)
    return Window(
        (shape.height + 1) / 2 * (row + 1) - 1,
        (shape.width + 1) / 2 * (column + 1) - 1,
        widest * stride,
        variance,
        strength,
    )


def filter_bank(centre: Tensor, stride: Tensor, variance: Tensor, filters: int, length: int) -> Tensor:
    """The filters along one axis of ``length`` pixels, ``(B, N, length)``; each sums to one (Eqs. 19, 20, 25, 26).

    A softmax is the same as dividing by the sum, and stays exact where every exponential would vanish.
    """
    offset = torch.arange(filters, device=centre.device) - (filters - 1) / 2
    middle = centre[:, None] + offset * stride[:, None]  # (B, N)
    pixel = torch.arange(length, device=centre.device)
    return (-(pixel - middle[..., None]).square() / (2 * variance[:, None, None])).softmax(2)


def banks(at: Window, filters: int, shape: Shape) -> tuple[Tensor, Tensor]:
    """F_Y ``(B, N, H)`` and F_X ``(B, N, W)``."""
    rows = filter_bank(at.row, at.stride, at.variance, filters, shape.height)
    columns = filter_bank(at.column, at.stride, at.variance, filters, shape.width)
    return rows, columns


def read(image: Tensor, at: Window, filters: int) -> Tensor:
    """gamma F_Y x F_X^T: the patch ``(B, C, N, N)`` of ``image`` (B, C, H, W) under a window (Eq. 27)."""
    rows, columns = banks(at, filters, Shape(*image.shape[1:]))
    patch = rows[:, None] @ image @ columns[:, None].mT
    return at.strength[:, None, None, None] * patch


def write(patch: Tensor, at: Window, shape: Shape) -> Tensor:
    """1 / gamma F_Y^T w F_X: the patch ``(B, C, N, N)`` laid onto an empty picture ``(B, C, H, W)`` (Eq. 29)."""
    rows, columns = banks(at, patch.shape[-1], shape)
    return (rows[:, None].mT @ patch @ columns[:, None]) / at.strength[:, None, None, None]


class Glimpse(nn.Module):
    """Reads a patch where a state ``(B, D)`` puts the window: pictures ``(B, C, H, W)`` to ``(B, C N N)``."""

    def __init__(self, width: int, filters: int) -> None:
        super().__init__()
        self.filters = filters
        self.where = nn.Linear(width, 5)

    def forward(self, image: Tensor, state: Tensor) -> Tensor:
        at = window(self.where(state), self.filters, Shape(*image.shape[1:]))
        return read(image, at, self.filters).flatten(1)


class Writer(nn.Module):
    """Writes a patch; it and its window are affine in a state ``(B, D)``: ``(B, C, H, W)`` to add (Eqs. 28, 29)."""

    def __init__(self, width: int, filters: int, shape: Shape) -> None:
        super().__init__()
        self.filters, self.shape = filters, shape
        self.where = nn.Linear(width, 5)
        self.what = nn.Linear(width, shape.channels * filters * filters)

    def forward(self, state: Tensor) -> Tensor:
        patch = self.what(state).unflatten(1, (self.shape.channels, self.filters, self.filters))
        return write(patch, window(self.where(state), self.filters, self.shape), self.shape)
