"""The networks of DANet (Yue et al. 2020, 2007.05946): a U-Net that finds noise, the same that makes it, and a critic.

As in the authors' program: without norms, levels halved by 4x4 convolutions. Counts with 32 channels, five levels,
three colours: 9,153,571 parameters, 9,153,859 with noise beside them; the critic of 128 pixels with 64, 44,703,745.

Axes: S rows and columns of a square picture.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from zeuxis.batch import Shape
from zeuxis.errors import UsageError
from zeuxis.nn.dcgan import SMALLEST, halvings
from zeuxis.nn.norm import initialise_normal
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.point import ToPoint

SLOPE = 0.2


class PlainUNet(nn.Module):
    """``(B, C, H, W)`` to ``(B, C_out, H, W)``; sides that do not halve evenly are lengthened by their border.

    Two convolutions a level on either way, ``width`` channels at the finest, twice as many with each of ``levels``.
    """

    def __init__(self, inputs: int, outputs: int, *, width: int = 32, levels: int = 5) -> None:
        super().__init__()
        if levels < 1:
            raise UsageError(f"model.levels is {levels}: a U-Net has at least 1")
        self.step = 2 ** (levels - 1)
        widths = [width << level for level in range(levels)]
        self.down = nn.ModuleList(_pair(now, to) for now, to in pairwise((inputs, *widths)))
        self.halve = nn.ModuleList(nn.Conv2d(w, w, 4, stride=2, padding=1, bias=False) for w in widths[:-1])
        coarse_first = list(pairwise(reversed(widths)))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for coarse, fine in coarse_first)
        self.up = nn.ModuleList(_pair(coarse, fine) for coarse, fine in coarse_first)
        self.last = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        h = pad(x, (0, -width % self.step, 0, -height % self.step), mode="replicate")
        skips = []
        for block, halve in zip(self.down, self.halve, strict=False):  # the coarsest level is not halved
            skips.append(block(h))
            h = halve(skips[-1])
        h = self.down[-1](h)
        for grow, block, skip in zip(self.grow, self.up, reversed(skips), strict=True):
            h = block(torch.cat([grow(h), skip], 1))
        out: Tensor = self.last(h)
        return out[:, :, :height, :width]


class UNetDenoiser(PictureNetwork):
    """Noisy pictures ``(B, C, H, W)`` in [0, 1] to clean ones, about in [0, 1]: R predicts the noise."""

    def __init__(self, channels: int, *, width: int = 32, levels: int = 5) -> None:
        super().__init__()
        self.channels, self.scale, self.floats = channels, 1, 6 * width
        self.reach = 8 * 2 ** (levels - 1)
        self.unet = PlainUNet(channels, channels, width=width, levels=levels)
        self.step = self.unet.step

    def forward(self, x: Tensor) -> Tensor:
        clean: Tensor = x - self.unet(x)
        return clean


class NoiseUNet(nn.Module):
    """Clean pictures ``(B, C, H, W)`` in [0, 1], and noise ``(B, 1, H, W)`` that drives it, to noisy pictures."""

    def __init__(self, channels: int, *, width: int = 32, levels: int = 5) -> None:
        super().__init__()
        self.unet = PlainUNet(channels + 1, channels, width=width, levels=levels)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        noisy: Tensor = x + self.unet(torch.cat([x, z], 1))
        return noisy


class PairCritic(nn.Module):
    """Clean and noisy pictures together ``(B, 2 C, S, S)`` to numbers ``(B,)``, without norms or biases."""

    def __init__(self, shape: Shape, *, ndf: int = 64) -> None:
        super().__init__()
        widths = [2 * shape.channels, *(ndf << level for level in range(halvings(shape)))]
        layers: list[nn.Module] = []
        for now, to in pairwise(widths):
            layers += [nn.Conv2d(now, to, 4, stride=2, padding=1, bias=False), nn.LeakyReLU(SLOPE)]
        self.trunk = nn.Sequential(*layers)
        self.to_point = ToPoint(widths[-1], 2 * widths[-1], SMALLEST, bias=False)
        self.head = nn.Sequential(nn.LeakyReLU(SLOPE), nn.Linear(2 * widths[-1], 1))
        initialise_normal(self)

    def forward(self, pair: Tensor) -> Tensor:
        logits: Tensor = self.head(self.to_point(self.trunk(pair)))
        return logits[:, 0]


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.LeakyReLU(SLOPE),
    )
