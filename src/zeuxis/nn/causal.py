"""Causal convolutions of pictures in raster order.

The two stacks of van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders" (1606.05328,
section 2.2): a vertical one over all rows above, and a horizontal one over the row so far. One stack
of masked convolutions would have a blind spot, a triangle to the right that no depth ever reaches.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def shift_down(x: Tensor) -> Tensor:
    """Every row becomes the one above it; the first is zero: ``(B, C, H, W)``."""
    return F.pad(x, (0, 0, 1, 0))[:, :, :-1]


def shift_right(x: Tensor) -> Tensor:
    """Every column becomes the one to its left; the first is zero: ``(B, C, H, W)``."""
    return F.pad(x, (1, 0))[..., :-1]


class DownConv(nn.Module):
    """A convolution over the rows up to and including a pixel's own, over all their columns."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.reach = kernel // 2
        self.conv = nn.Conv2d(inputs, outputs, (self.reach + 1, kernel))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, (self.reach, self.reach, self.reach, 0)))
        return out


class RightConv(nn.Module):
    """A convolution over the columns up to and including a pixel's own, in its row."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.reach = kernel // 2
        self.conv = nn.Conv2d(inputs, outputs, (1, self.reach + 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, (self.reach, 0)))
        return out


class GatedLayer(nn.Module):
    """One layer of both stacks (the paper's Figure 2), conditioned on a vector of ``vector`` numbers.

    ``first`` marks the layer whose input is the image itself: its horizontal stack leaves out the pixel's own column,
    and there is nothing yet to add its output to.
    """

    def __init__(self, inputs: int, width: int, kernel: int, *, vector: int = 0, first: bool = False) -> None:
        super().__init__()
        self.first = first
        self.down = DownConv(inputs, 2 * width, kernel)
        self.right = RightConv(inputs, 2 * width, kernel)
        self.across = nn.Conv2d(2 * width, 2 * width, 1)  # from the vertical stack to the horizontal one
        self.proj_out = nn.Conv2d(width, width, 1)
        self.conditioning = nn.Linear(vector, 4 * width, bias=False) if vector else None

    def forward(self, v: Tensor, h: Tensor, vector: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features ``(B, C, H, W)`` of the vertical and the horizontal stack, to the next ones.

        At a pixel the vertical ones depend on the rows up to its own, the horizontal ones on what comes before it.
        """
        above = self.vertical(v, vector)
        return gate(above), self.horizontal(h, self.from_above(above), vector)

    def vertical(self, v: Tensor, vector: Tensor | None = None) -> Tensor:
        """The vertical stack before its gate, ``(B, 2 C, H, W)``."""
        above: Tensor = self.down(v)
        return above if self.conditioning is None else above + self._bias(vector)[0]

    def from_above(self, above: Tensor) -> Tensor:
        """The horizontal stack's input from the rows above, ``(B, 2 C, H, W)``."""
        from_above: Tensor = self.across(shift_down(above))
        return from_above

    def horizontal(self, h: Tensor, from_above: Tensor, vector: Tensor | None = None) -> Tensor:
        """The horizontal stack; of some rows alone, if ``h`` and ``from_above`` are of those."""
        row = self.right(shift_right(h) if self.first else h) + from_above
        if self.conditioning is not None:
            row = row + self._bias(vector)[1]
        out: Tensor = self.proj_out(gate(row))
        return out if self.first else h + out

    def _bias(self, vector: Tensor | None) -> tuple[Tensor, Tensor]:
        if vector is None or self.conditioning is None:
            raise ValueError("a vector is given exactly when the layer was built with one")
        for_above, for_row = self.conditioning(vector)[:, :, None, None].chunk(2, 1)
        return for_above, for_row


def gate(x: Tensor) -> Tensor:
    """tanh(a) sigmoid(b) of the two halves of the channels (Eq. 2)."""
    a, b = x.chunk(2, 1)
    return torch.tanh(a) * torch.sigmoid(b)
