"""The synthesis network of the first StyleGAN: a constant, noise, and styles that scale and shift normalised maps.

Karras, Laine and Aila 2018, "A style-based generator architecture for generative adversarial networks" (1812.04948).
The mapping is that of :mod:`zeuxis.nn.stylegan2`, the growth and the discriminator those of
:mod:`zeuxis.nn.progressive`, with a blur. Counts at 1024x1024x3: 26,219,627 and 23,087,249. Names in the authors'
program -> here, at the level k of R = 4 2^k pixels: ``G_mapping/Dense{i}`` -> mapping.layers.i, ``4x4/Const/const`` ->
blocks.0.const, ``4x4/Const`` and ``RxR/Conv0_up`` -> blocks.k.layer0, ``4x4/Conv`` and ``RxR/Conv1`` ->
blocks.k.layer1, in each ``weight`` -> conv.weight, ``Noise/weight`` -> strength, ``bias`` -> bias, ``StyleMod`` ->
style, the variable ``noise{i}`` -> noise; ``ToRGB_lod`` (counted from the finest) -> pixels.k, ``dlatent_avg`` -> mean.

Axes: W numbers of a style code, L layers that are given a code each, S side of a square map, s of the
pictures at hand, I and O channels, M rows of the map from a code to the scale and shift of a layer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from zeuxis.batch import Shape
from zeuxis.nn.box_conv import Resample
from zeuxis.nn.dcgan import SMALLEST
from zeuxis.nn.modulated import EPSILON, SLOPE, EqualLinear
from zeuxis.nn.progressive import HeConv2d, faded_pixels, smoothed
from zeuxis.nn.stylegan2 import Noise, Synthesis, noise_of, sides, widths_of


def instance_norm(x: Tensor) -> Tensor:
    """Each map of ``(B, C, S, S)`` of mean 0 and deviation 1, in float32."""
    x = x.float()
    x = x - x.mean((2, 3), keepdim=True)
    return x * (x.square().mean((2, 3), keepdim=True) + EPSILON).rsqrt()


class AdaptiveLayer(nn.Module):
    """A convolution, unless ``inputs`` is 0, then noise, a bias, a leaky ReLU, and AdaIN (Eq. 1) by a code."""

    noise: Tensor

    def __init__(self, inputs: int, outputs: int, width: int, side: int, *, up: bool = False) -> None:
        super().__init__()
        resample = Resample.DOUBLE if up else Resample.NONE
        self.conv = HeConv2d(inputs, outputs, 3, active=False, bias=False, resample=resample) if inputs else None
        self.strength = nn.Parameter(torch.zeros(outputs))  # of the noise
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.style = EqualLinear(width, 2 * outputs)
        self.register_buffer("noise", torch.randn(side, side))
        self.up = up

    def forward(self, x: Tensor, code: Tensor, noise: Noise) -> Tensor:
        if self.conv is not None:
            x = self.conv(x)
        if self.up:
            x = smoothed(x)
        if noise != "none":
            x = x + noise_of(self.noise, len(x), noise).to(x.dtype) * self.strength.to(x.dtype)[:, None, None]
        x = leaky_relu(x + self.bias.to(x.dtype)[:, None, None], SLOPE)
        scale, shift = self.style(code)[:, :, None, None].chunk(2, 1)  # y_s - 1 and y_b
        return instance_norm(x) * (1 + scale) + shift


class AdaptiveBlock(nn.Module):
    """One resolution of two layers, twice the one below; the lowest begins with a constant."""

    def __init__(self, inputs: int, outputs: int, width: int, side: int) -> None:
        super().__init__()
        lowest = side == SMALLEST
        self.const = nn.Parameter(torch.ones(outputs, side, side)) if lowest else None
        self.layer0 = AdaptiveLayer(0 if lowest else inputs, outputs, width, side, up=not lowest)
        self.layer1 = AdaptiveLayer(outputs, outputs, width, side)

    def forward(self, x: Tensor | None, codes: Tensor, noise: Noise) -> Tensor:
        """``codes`` ``(B, 2, W)``, one for each layer."""
        if x is None:
            assert self.const is not None
            x = self.const.expand(len(codes), *self.const.shape)
        return self.layer1(self.layer0(x, codes[:, 0], noise), codes[:, 1], noise)


class AdaptiveSynthesis(Synthesis):
    """Codes ``(B, L, W)``, one for each layer, to pictures ``(B, C, s, s)`` float32 of a level, not bounded."""

    def __init__(self, shape: Shape, width: int, *, channel_base: int = 16384, channel_max: int = 512) -> None:
        super().__init__()
        known = sides(shape)
        widths = widths_of(shape, channel_base, channel_max)
        below = [0, *widths[:-1]]
        self.blocks = nn.ModuleList(
            AdaptiveBlock(inputs, outputs, width, side)
            for inputs, outputs, side in zip(below, widths, known, strict=True)
        )
        self.pixels = nn.ModuleList(HeConv2d(each, shape.channels, 1, gain=1.0, active=False) for each in widths)
        self.layers = 2 * len(known)

    def forward(self, codes: Tensor, noise: Noise, level: float | None = None) -> Tensor:
        """Of the finest level, unless another is given; then the first codes are used and the others are not."""
        level = float(len(self.blocks) - 1) if level is None else level
        maps: list[Tensor] = []
        for k, block in enumerate(self.blocks[: math.ceil(level) + 1]):
            maps.append(block(maps[-1] if maps else None, codes[:, 2 * k : 2 * k + 2], noise))
        return faded_pixels(maps, self.pixels, level).float()

    def affine_weights(self) -> list[Tensor]:
        """The maps ``(M, W)`` from the code of each layer to its scale and shift, in order."""
        return [layer.style.weight for layer in self.modules() if isinstance(layer, AdaptiveLayer)]
