"""Convolutions that see only what comes before, in the order in which a page is read.

The two stacks of van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders" (1606.05328,
section 2.2): a vertical one that sees all rows above, and a horizontal one that sees the row so far. One stack
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
    """A convolution over the rows up to and including a pixel's own, all of whose columns it may see."""

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
    """One layer of both stacks (the paper's Figure 2), told ``vector`` numbers about the whole picture.

    ``first`` marks the layer that meets the image itself: its horizontal stack leaves out the pixel's own column,
    and there is nothing yet to add its output to.
    """

    def __init__(self, inputs: int, width: int, kernel: int, *, vector: int = 0, first: bool = False) -> None:
        super().__init__()
        self.first = first
        self.down = DownConv(inputs, 2 * width, kernel)
        self.right = RightConv(inputs, 2 * width, kernel)
        self.across = nn.Conv2d(2 * width, 2 * width, 1)  # from the vertical stack to the horizontal one
        self.proj_out = nn.Conv2d(width, width, 1)
        self.told = nn.Linear(vector, 4 * width, bias=False) if vector else None

    def forward(self, v: Tensor, h: Tensor, vector: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features ``(B, C, H, W)`` of the vertical and the horizontal stack, to the next ones.

        At a pixel the vertical ones know the rows up to its own, the horizontal ones what comes before it.
        """
        above = self.look_up(v, vector)
        return gate(above), self.look_left(h, self.hint(above), vector)

    def look_up(self, v: Tensor, vector: Tensor | None = None) -> Tensor:
        """The vertical stack before its gate, ``(B, 2 C, H, W)``."""
        above: Tensor = self.down(v)
        return above if self.told is None else above + self._told(vector)[0]

    def hint(self, above: Tensor) -> Tensor:
        """What the horizontal stack learns of the rows above, ``(B, 2 C, H, W)``."""
        hint: Tensor = self.across(shift_down(above))
        return hint

    def look_left(self, h: Tensor, hint: Tensor, vector: Tensor | None = None) -> Tensor:
        """The horizontal stack; of some rows alone, if ``h`` and ``hint`` are of those."""
        row = self.right(shift_right(h) if self.first else h) + hint
        if self.told is not None:
            row = row + self._told(vector)[1]
        out: Tensor = self.proj_out(gate(row))
        return out if self.first else h + out

    def _told(self, vector: Tensor | None) -> tuple[Tensor, Tensor]:
        if vector is None or self.told is None:
            raise ValueError("a vector is given exactly when the layer was built with one")
        for_above, for_row = self.told(vector)[:, :, None, None].chunk(2, 1)
        return for_above, for_row


def gate(x: Tensor) -> Tensor:
    """tanh(a) sigmoid(b) of the two halves of the channels (Eq. 2)."""
    a, b = x.chunk(2, 1)
    return torch.tanh(a) * torch.sigmoid(b)
