"""Pictures of edges: what a drawing keeps of a picture, for models that draw by outlines (ControlNet, 2302.05543)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.degrade.degradation import Degradation
from zeuxis.errors import UsageError
from zeuxis.rng import Rng

SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


@dataclass(frozen=True)
class Edges(Degradation):
    """Keeps the edges alone, white on black: thin, and where the picture changes by `contrast` (0 to 1) or more."""

    contrast: float = 0.15
    name = "edges"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.contrast) and 0 < self.contrast <= 1):
            raise UsageError(f"{self}: the contrast must lie above 0 and be 1 at most")

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        return (2 * edges(image, self.contrast) - 1).expand_as(image).contiguous()


def edges(image: Tensor, contrast: float = 0.15) -> Tensor:
    """Where the edges of pictures ``(B, C, H, W)`` in [-1, 1] are: ``(B, 1, H, W)``, 1 on an edge and 0 elsewhere.

    Sobel's gradient, of the channel in which it is largest, 1 where black meets white; an edge is where it reaches
    ``contrast`` and no neighbour across has more (non-maximum suppression, as in Canny 1986). Of two neighbours that
    are alike the upper or the left one counts, so that a sharp step is one pixel wide.
    """
    x, y = slopes(image)
    strength = (x.square() + y.square()).sqrt()
    # Rounded, so that the two sides of a sharp step are alike on any machine.
    strength = (strength * 1024).round() / 1024
    sideways = x.abs() >= y.abs()
    around = F.pad(strength, (1, 1, 1, 1))
    left, right = around[:, :, 1:-1, :-2], around[:, :, 1:-1, 2:]
    above, below = around[:, :, :-2, 1:-1], around[:, :, 2:, 1:-1]
    first, second = torch.where(sideways, left, above), torch.where(sideways, right, below)
    return ((strength >= contrast) & (strength > first) & (strength >= second)).to(image.dtype)


def slopes(image: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel's slopes of pictures ``(B, C, H, W)`` along rows and along columns, ``(B, 1, H, W)`` each: those of the
    channel in which they are largest, 1 where black meets white."""
    channels = image.shape[1]
    across = image.new_tensor(SOBEL).expand(channels, 1, 3, 3) / 8
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    x = F.conv2d(padded, across, groups=channels)  # (B, C, H, W)
    y = F.conv2d(padded, across.mT, groups=channels)
    channel = (x.square() + y.square()).sqrt().max(1, keepdim=True)[1]  # (B, 1, H, W)
    return x.gather(1, channel), y.gather(1, channel)
