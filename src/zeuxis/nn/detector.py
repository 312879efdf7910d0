"""A small network over the maps of another: what it sees of a picture beside what it was trained to say."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.nn.features import SMALLEST, conv

FEATURES = 64


class MapDetector(nn.Module):
    """Maps of a network, fine to coarse, to one number for each picture.

    Each map joins what became of the finer ones, is convolved, and brought to the size of the next; the last is halved
    until a side has 4 pixels and flattened, for where things are matters. Group normalisation, so that a picture's
    number does not depend on its batch.
    """

    def __init__(self, maps: tuple[tuple[int, int, int], ...], widths: tuple[int, ...]) -> None:
        """``maps`` are the shapes (C, h, w) of the maps; ``widths`` the channels of the convolutions, the last of them
        those of all further ones."""
        super().__init__()
        sizes = [(h, w) for _, h, w in maps]
        while min(sizes[-1]) > SMALLEST:
            sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        strides = [2 if smaller != larger else 1 for larger, smaller in pairwise([*sizes, sizes[-1]])]
        joined = [channels for channels, _, _ in maps] + [0] * (len(sizes) - len(maps))
        outputs = [widths[min(k, len(widths) - 1)] for k in range(len(sizes))]
        self.stages = nn.ModuleList(
            nn.Sequential(*conv(before + channels, after, stride))
            for before, channels, after, stride in zip([0, *outputs[:-1]], joined, outputs, strides, strict=True)
        )
        height, width = sizes[-1]
        self.project = nn.Linear(outputs[-1] * height * width, FEATURES)
        self.norm = nn.LayerNorm(FEATURES)
        self.out = nn.Linear(FEATURES, 1)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """``(B,)`` from maps ``(B, C, h, w)``."""
        h = maps[0]
        for k, stage in enumerate(self.stages):
            h = stage(torch.cat([h, maps[k]], 1) if 0 < k < len(maps) else h)
        score: Tensor = self.out(F.silu(self.norm(self.project(h.flatten(1)))))
        return score[:, 0]
