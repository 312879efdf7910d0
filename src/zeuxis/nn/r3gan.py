"""The generator and the discriminator of R3GAN: residual networks without normalisation, and nothing else.

Huang, Gokaslan, Kuleshov and Tompkin 2025, "The GAN is dead; long live the GAN! A modern baseline GAN"
(arXiv:2501.05441), section 4 and the authors' program: blocks of a 1x1, a grouped 3x3 and a 1x1 convolution, wider
inside, the last of which starts at zero (fix-up); a bias before each of the two activations of a block and nowhere
else; bilinear filters between levels; a learnt basis of 4x4 maps at the coarse end. Counts at 32x32x3, four levels of
768: 20,732,160 and 20,683,776; given ten classes 20,781,952 and 21,280,512.

Axes: S rows and columns of a square picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from zeuxis.batch import Shape
from zeuxis.errors import UsageError
from zeuxis.nn.upfirdn import downsample, upsample

SLOPE = 0.2  # of the leaky ReLU
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # keeps the variance through it
BASE = 4  # pixels a side of the coarsest level
INSIDE = 2  # times as many channels inside a block


def scaled(layer: nn.Conv2d | nn.Linear, gain: float = 1.0) -> nn.Conv2d | nn.Linear:
    """``layer``, which has no bias, with weights from N(0, gain^2 / fan-in)."""
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    return layer


def conv(inputs: int, outputs: int, width: int, gain: float = 1.0, groups: int = 1) -> nn.Module:
    """A convolution that keeps the size."""
    return scaled(nn.Conv2d(inputs, outputs, width, padding=width // 2, groups=groups, bias=False), gain)


class Biased(nn.Module):
    """``(B, C, H, W)``: a bias for each channel, then the leaky ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x + self.bias.to(x.dtype)[:, None, None], SLOPE)


class BilinearUpsample(nn.Module):
    """``(B, C, H, W)`` to ``(B, C, 2 H, 2 W)``, bilinear."""

    def forward(self, x: Tensor) -> Tensor:
        return upsample(x)


class BilinearDownsample(nn.Module):
    """``(B, C, H, W)`` to ``(B, C, H / 2, W / 2)``, by the same filter."""

    def forward(self, x: Tensor) -> Tensor:
        return downsample(x)


class FixUpBlock(nn.Module):
    """``(B, C, H, W)`` to the same. At first it is the identity; ``blocks`` are all that a network has."""

    def __init__(self, channels: int, group: int, blocks: int) -> None:
        super().__init__()
        inside = INSIDE * channels
        if inside % group:
            raise UsageError(f"{channels} channels: {INSIDE} times as many are not made of groups of {group}")
        gain = GAIN * blocks**-0.25  # L^(-1 / (2 m - 2)) of m = 3 layers (Zhang et al. 2019, arXiv:1901.09321)
        self.layers = nn.Sequential(
            conv(channels, inside, 1, gain),
            Biased(inside),
            conv(inside, inside, 3, gain, groups=inside // group),
            Biased(inside),
            conv(inside, channels, 1, 0.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.layers(x)
        return x + h


def levels(shape: Shape, widths: Sequence[int], key: str = "widths") -> None:
    """Raise :class:`UsageError` unless the picture is a square that so many levels bring down to 4 pixels; ``key`` is
    what they are called among the options."""
    side = BASE << (len(widths) - 1)
    if not widths or (shape.height, shape.width) != (side, side):
        wanted = (shape.height // BASE).bit_length()
        square = shape.height == shape.width == BASE << max(0, wanted - 1)
        mend = f"give {wanted} {key}, one for each level from 4 pixels up" if square else "squares alone are taken"
        raise UsageError(
            f"images of {shape.width} x {shape.height}: {len(widths)} {key} are for squares of {side} pixels; {mend},"
            f" or set size to {side}"
        )


def linear_if(inputs: int, outputs: int) -> nn.Module:
    """A 1x1 convolution where the number of channels changes."""
    return nn.Identity() if inputs == outputs else conv(inputs, outputs, 1)


class R3Generator(nn.Module):
    """Latents ``(B, nz)``, and classes, to unbounded images ``(B, C, S, S)``; ``widths`` are coarse to fine."""

    def __init__(
        self, shape: Shape, *, nz: int, widths: Sequence[int], blocks: int, group: int, classes: int = 0
    ) -> None:
        super().__init__()
        levels(shape, widths)
        self.embedding = scaled(nn.Linear(classes, nz, bias=False)) if classes else None
        self.mix = scaled(nn.Linear(nz * (2 if classes else 1), widths[0], bias=False))
        self.basis = nn.Parameter(torch.empty(widths[0], BASE, BASE))
        nn.init.normal_(self.basis)
        depth = blocks * len(widths)
        layers: list[nn.Module] = [FixUpBlock(widths[0], group, depth) for _ in range(blocks)]
        for before, width in pairwise(widths):
            layers += [linear_if(before, width), BilinearUpsample()]
            layers += [FixUpBlock(width, group, depth) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers, conv(widths[-1], shape.channels, 1))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """``label`` ``(B, K)`` is one-hot, of a network with classes."""
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(label)], 1)
        image: Tensor = self.layers(self.basis * self.mix(z)[:, :, None, None])
        return image


class R3Discriminator(nn.Module):
    """Images ``(B, C, S, S)``, and classes, to logits ``(B,)``; ``widths`` are coarse to fine, as the generator's."""

    def __init__(self, shape: Shape, *, widths: Sequence[int], blocks: int, group: int, classes: int = 0) -> None:
        super().__init__()
        levels(shape, widths)
        depth, coarse, outputs = blocks * len(widths), widths[0], widths[0] if classes else 1
        layers: list[nn.Module] = [conv(shape.channels, widths[-1], 1)]
        for width, after in pairwise(reversed(widths)):
            layers += [FixUpBlock(width, group, depth) for _ in range(blocks)]
            layers += [BilinearDownsample(), linear_if(width, after)]
        layers += [FixUpBlock(coarse, group, depth) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers)
        self.basis = scaled(nn.Conv2d(coarse, coarse, BASE, groups=coarse, bias=False))
        self.head = scaled(nn.Linear(coarse, outputs, bias=False))
        self.embedding = scaled(nn.Linear(classes, outputs, bias=False), outputs**-0.5) if classes else None

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """``label`` ``(B, K)`` is one-hot, of a network with classes."""
        h: Tensor = self.head(self.basis(self.layers(image)).flatten(1))
        if self.embedding is not None:
            return (h * self.embedding(label)).sum(1)  # the projection of Miyato & Koyama 2018, without its bias
        return h.squeeze(1)
