"""Networks that grow: a generator and a discriminator of all resolutions, of which the lower ones are used first.

Karras, Aila, Laine and Lehtinen 2017, "Progressive growing of GANs for improved quality, stability, and variation"
(1710.10196), with the layers of the authors' program, in whose discriminator the mean of each 2x2 is taken before the
bias and the leaky ReLU. Weights are N(0, 1) and He's constant is applied in use (section 4.1). Counts at 1024x1024x3:
23,079,115 and 23,087,249. A level counts resolutions from 4 pixels up: 0 is 4, 1 is 8; between two whole ones the finer
is faded in (figure 2). Names in the authors' program -> here, at the level k of R = 4 2^k pixels: ``RxR/Conv0_up`` ->
blocks.k.conv0, ``RxR/Conv1`` -> blocks.k.conv1, ``4x4/Dense`` and ``4x4/Conv`` -> blocks.0.dense and blocks.0.conv,
``ToRGB_lod`` (counted from the finest) -> pixels.k; of the discriminator ``RxR/Conv0`` and ``RxR/Conv1_down`` ->
blocks.k-1.conv0 and .conv1, ``FromRGB_lod`` -> pixels.k, ``4x4/Conv``, ``Dense0``, ``Dense1`` -> conv, hidden, out.

Axes: Z numbers of a latent, I and O channels in and out, S side of the finest pictures, s of those at hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, leaky_relu

from zeuxis.batch import Shape
from zeuxis.nn.box_conv import Resample, conv2d_resampled
from zeuxis.nn.dcgan import SMALLEST
from zeuxis.nn.growing import doubled, finest
from zeuxis.nn.modulated import GAIN, SLOPE, EqualLinear
from zeuxis.nn.stylegan2 import DeviationOfBatch, unit, widths_of
from zeuxis.nn.upfirdn import Taps, upfirdn2d

SMOOTH: Taps = (1 / 4, 1 / 2, 1 / 4)  # the blur of StyleGAN


class HeConv2d(nn.Module):
    """A convolution ``(B, I, H, W)`` to ``(B, O, H, W)``, twice or half the sides, with He's constant at run time.

    ``active``: a bias and a leaky ReLU follow; ``bias`` alone: a bias.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        gain: float = GAIN,
        active: bool = True,
        bias: bool = True,
        resample: Resample = Resample.NONE,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = gain / math.sqrt(inputs * kernel**2)
        self.active, self.resample = active, resample

    def forward(self, x: Tensor) -> Tensor:
        x = conv2d_resampled(x, self.weight * self.scale, self.bias, self.resample)
        return leaky_relu(x, SLOPE) if self.active else x


class HeLinear(EqualLinear):
    """``(B, I)`` to ``(B, O)`` and a leaky ReLU, whose gain does not go into the bias."""

    def __init__(self, inputs: int, outputs: int, *, rate: float = 1.0) -> None:
        super().__init__(inputs, outputs, rate=rate, active=True)
        self.bias_gain = rate


class FirstMaps(nn.Module):
    """Latents ``(B, Z)`` to maps ``(B, O, 4, 4)``; a bias for each channel."""

    def __init__(self, latent: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs * SMALLEST**2, latent))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = GAIN / SMALLEST / math.sqrt(latent)

    def forward(self, z: Tensor) -> Tensor:
        x = (z @ (self.weight * self.scale).t()).unflatten(1, (-1, SMALLEST, SMALLEST))
        return leaky_relu(x + self.bias[:, None, None], SLOPE)


class GrownBlock(nn.Module):
    """One level of the generator, each of whose layers is followed by pixel normalisation (section 4.2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = HeConv2d(inputs, outputs, 3, resample=Resample.DOUBLE)
        self.conv1 = HeConv2d(outputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        return unit(self.conv1(unit(self.conv0(x))))


class FirstBlock(nn.Module):
    """The lowest level, from latents."""

    def __init__(self, latent: int, outputs: int) -> None:
        super().__init__()
        self.dense = FirstMaps(latent, outputs)
        self.conv = HeConv2d(outputs, outputs, 3)

    def forward(self, z: Tensor) -> Tensor:
        return unit(self.conv(unit(self.dense(z))))


class ProgressiveGenerator(nn.Module):
    """Latents ``(B, Z)`` at a level to pictures ``(B, C, s, s)``, not bounded."""

    def __init__(self, shape: Shape, *, nz: int = 512, channel_base: int = 16384, channel_max: int = 512) -> None:
        super().__init__()
        widths = widths_of(shape, channel_base, channel_max)
        grown = (GrownBlock(one, two) for one, two in pairwise(widths))
        self.blocks = nn.ModuleList([FirstBlock(nz, widths[0]), *grown])
        self.pixels = nn.ModuleList(HeConv2d(width, shape.channels, 1, gain=1.0, active=False) for width in widths)

    def forward(self, z: Tensor, level: float) -> Tensor:
        maps = [self.blocks[0](unit(z))]
        for block in self.blocks[1 : math.ceil(level) + 1]:
            maps.append(block(maps[-1]))
        return faded_pixels(maps, self.pixels, level)


def faded_pixels(maps: Sequence[Tensor], pixels: nn.ModuleList, level: float) -> Tensor:
    """The picture of the finest of ``maps``, one of each whole level so far, over that of the one below."""
    top, share = finest(level)
    image: Tensor = pixels[top](maps[top])
    return image if share == 1 else doubled(pixels[top - 1](maps[top - 1])).lerp(image, share)


class HalvingBlock(nn.Module):
    """``(B, I, s, s)`` to ``(B, O, s/2, s/2)``; ``blur``: smoothed before the layer that halves."""

    def __init__(self, inputs: int, outputs: int, blur: bool) -> None:
        super().__init__()
        self.conv0 = HeConv2d(inputs, inputs, 3)
        self.conv1 = HeConv2d(inputs, outputs, 3, resample=Resample.HALVE)
        self.blur = blur

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv0(x)
        x = self.conv1(smoothed(x) if self.blur else x)
        return x


def smoothed(x: Tensor) -> Tensor:
    """Maps ``(B, C, H, W)`` under the binomial filter of three taps."""
    return upfirdn2d(x, SMOOTH, padding=(1, 1))


class ProgressiveDiscriminator(nn.Module):
    """Pictures ``(B, C, s, s)`` at a level to logits ``(B,)`` float32, not bounded."""

    def __init__(
        self,
        shape: Shape,
        *,
        channel_base: int = 16384,
        channel_max: int = 512,
        group: int = 4,
        blur: bool = False,
    ) -> None:
        super().__init__()
        widths = widths_of(shape, channel_base, channel_max)
        self.pixels = nn.ModuleList(HeConv2d(shape.channels, width, 1) for width in widths)
        self.blocks = nn.ModuleList(HalvingBlock(two, one, blur) for one, two in pairwise(widths))
        self.deviation = DeviationOfBatch(group)
        self.conv = HeConv2d(widths[0] + 1, widths[0], 3)
        self.hidden = HeLinear(widths[0] * SMALLEST**2, widths[0])
        self.out = EqualLinear(widths[0], 1)

    def forward(self, image: Tensor, level: float) -> Tensor:
        top, share = finest(level)
        x = self.pixels[top](image)
        for k in range(top, 0, -1):
            x = self.blocks[k - 1](x)
            if k == top and share < 1:
                x = self.pixels[top - 1](avg_pool2d(image, 2)).lerp(x, share)
        logit: Tensor = self.out(self.hidden(self.conv(self.deviation(x)).flatten(1)))
        return logit[:, 0]
