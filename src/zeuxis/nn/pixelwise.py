"""A network with an output for every pixel: the U-Net as first published, without an embedding of time."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.nn.resblock import Downsample, ResBlock, Upsample, group_norm


class SegmentationUNet(nn.Module):
    """Images ``(B, C, H, W)`` to logits ``(B, K, H, W)`` (Ronneberger et al. 2015, arXiv:1505.04597, Fig. 1).

    One residual block a level on the way down and one on the way up, with a skip connection between them. Group
    normalisation, so that a picture's logits do not depend on its batch.
    Sides that do not halve evenly are lengthened by their border, and the logits cut back.
    """

    def __init__(self, channels: int, classes: int, *, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        """``widths`` are the channels of the levels, fine to coarse, each a multiple of 4."""
        super().__init__()
        self.widths = tuple(widths)
        up = tuple(reversed(widths))
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(ResBlock(a, b) for a, b in pairwise((widths[0], *widths)))
        self.halve = nn.ModuleList(Downsample(w) for w in widths[:-1])
        self.grow = nn.ModuleList(Upsample(w) for w in up[:-1])
        self.up = nn.ModuleList(ResBlock(deep + skip, skip) for deep, skip in pairwise(up))
        self.norm = group_norm(widths[0])
        self.out = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        return self.read(self.maps(image))[:, :, :height, :width]

    def maps(self, image: Tensor) -> tuple[Tensor, ...]:
        """What the way down makes of the picture at each level, fine to coarse, ``(B, C, h, w)``."""
        height, width = image.shape[2:]
        step = 2 ** len(self.halve)
        h = self.stem(F.pad(image, (0, -width % step, 0, -height % step), mode="replicate"))
        found = []
        for block, halve in zip(self.down, self.halve, strict=False):  # the coarsest level is not halved
            found.append(block(h))
            h = halve(found[-1])
        return (*found, self.down[-1](h))

    def map_shapes(self, height: int, width: int) -> tuple[tuple[int, int, int], ...]:
        """(C, h, w) of each of :meth:`maps`, of pictures of that size."""
        sides = [2**level for level in range(len(self.down))]
        step = sides[-1]
        rows, columns = -(-height // step) * step, -(-width // step) * step
        return tuple((w, rows // s, columns // s) for w, s in zip(self.widths, sides, strict=True))

    def read(self, maps: tuple[Tensor, ...]) -> Tensor:
        """The logits, from :meth:`maps`, of the sides as they were lengthened."""
        *skips, h = maps
        for grow, block in zip(self.grow, self.up, strict=True):
            h = block(torch.cat([grow(h), skips.pop()], 1))
        logits: Tensor = self.out(F.silu(self.norm(h)))
        return logits
