"""The networks of GFP-GAN: a U-Net that takes damage off a face, and the generator of faces that it steers.

Wang, Li, Zhang and Shan 2021, "Towards real-world blind face restoration with generative facial prior" (2101.04061),
sections 3.2 to 3.4. The published weights (1.2 to 1.4) are of the authors' "clean" program, :class:`FaceNet` here: its
generator enlarges bilinearly and its weights are used as they are stored, without an equalised learning rate.
Counts at 512 pixels, of the widths of StyleGAN2's configuration F: 86,444,252, 30,276,583 of them the generator's.

Axes: L layers of the generator, W numbers of a style code, S side of a square map, I and O channels in and out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from zeuxis.errors import Unsupported, UsageError
from zeuxis.nn.dcgan import SMALLEST
from zeuxis.nn.modulated import GAIN, SLOPE, modulated_conv2d
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.stylegan2 import Noise, StyleBlock, StyleSynthesis, noise_of, unit
from zeuxis.nn.upfirdn import upsample

Modulation = tuple[Tensor, Tensor]  # alpha and beta of a level, (B, C / 2, S, S) each


class ResizedBlock(nn.Module):
    """``(B, I, S, S)`` to ``(B, O, factor S, factor S)``: two convolutions beside a 1x1, resized bilinearly."""

    def __init__(self, inputs: int, outputs: int, factor: float) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(inputs, inputs, 3, padding=1), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        inner = leaky_relu(self.conv2(_resized(leaky_relu(self.conv1(x), SLOPE), self.factor)), SLOPE)
        out: Tensor = inner + self.skip(_resized(x, self.factor))
        return out


class DegradationRemoval(nn.Module):
    """Damaged faces ``(B, C, S, S)`` in [-1, 1] to what steers a generator: codes, and alpha and beta of each level.

    ``widths`` are the generator's channels at 4, 8, ..., S pixels, of which the U-Net has half; ``layers`` and
    ``width`` are L and W.
    """

    def __init__(self, widths: Sequence[int], layers: int, width: int, channels: int = 3) -> None:
        super().__init__()
        if len(widths) < 2 or min(widths) < 2:
            raise UsageError(
                f"a generator of {', '.join(map(str, widths))} channels at 4, 8, ... pixels: a U-Net of half as many "
                "needs 2 channels and 8 pixels or more"
            )
        half = [w // 2 for w in widths]
        self.code = layers, width
        self.first = nn.Conv2d(channels, half[-1], 1)
        self.down = nn.ModuleList(ResizedBlock(fine, coarse, 0.5) for fine, coarse in pairwise(half[::-1]))
        self.middle = nn.Conv2d(half[0], half[0], 3, padding=1)
        self.latent = nn.Linear(half[0] * SMALLEST**2, layers * width)
        self.up = nn.ModuleList(ResizedBlock(coarse, fine, 2.0) for coarse, fine in pairwise(half))
        self.alpha = nn.ModuleList(_two_convs(w) for w in half[1:])
        self.beta = nn.ModuleList(_two_convs(w) for w in half[1:])
        self.pixels = nn.ModuleList(nn.Conv2d(w, channels, 1) for w in half[1:])

    def forward(self, x: Tensor) -> tuple[Tensor, list[Modulation], list[Tensor]]:
        """Codes ``(B, L, W)``, the modulation of each level from 8 pixels on, and the last maps at each level."""
        skips = []
        feature = leaky_relu(self.first(x), SLOPE)
        for block in self.down:
            feature = block(feature)
            skips.append(feature)
        feature = leaky_relu(self.middle(feature), SLOPE)  # (B, C, 4, 4)
        codes = self.latent(feature.flatten(1)).view(len(x), *self.code)
        modulations, maps = [], []
        for block, alpha, beta, skip in zip(self.up, self.alpha, self.beta, reversed(skips), strict=True):
            feature = block(feature + skip)
            modulations.append((alpha(feature), beta(feature)))
            maps.append(feature)
        return codes, modulations, maps

    def pictures(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The faces ``(B, C, S, S)`` that the U-Net itself sees at 8, 16, ... pixels, for the loss of each level."""
        return [pixels(feature) for pixels, feature in zip(self.pixels, maps, strict=True)]


def channel_split(x: Tensor, modulation: Modulation) -> Tensor:
    """CS-SFT: the first half of the channels as they are, the second times alpha plus beta."""
    alpha, beta = modulation
    same, changed = x.tensor_split([x.shape[1] - alpha.shape[1]], 1)
    return torch.cat([same, changed * alpha + beta], 1)


def synthesis_of(system: nn.Module, name: str) -> StyleSynthesis:
    """What draws faces in a trained system, called ``name`` in errors; :class:`Unsupported` where nothing can be so
    steered."""
    found = [part for part in system.modules() if isinstance(part, StyleSynthesis)]
    if len(found) != 1:
        raise Unsupported(f"'{name}' has no generator of styles that can be steered: give a trained stylegan2")
    return found[0]


def widths_in(synthesis: StyleSynthesis) -> list[int]:
    """The channels of a generator at 4, 8, ... pixels."""
    return [block.conv1.weight.shape[0] for block in _blocks(synthesis)]


def steered(synthesis: StyleSynthesis, codes: Tensor, modulations: Sequence[Modulation], noise: Noise) -> Tensor:
    """What a given generator draws of codes ``(B, L, W)`` when the maps of each level are modulated, not bounded."""
    layers = codes.unbind(1)
    first, *others = _blocks(synthesis)
    x, image = first(None, None, iter(layers), layers[1], noise)
    for k, (block, modulation) in enumerate(zip(others, modulations, strict=True), 1):
        assert block.conv0 is not None  # all but the lowest have it
        x = channel_split(block.conv0(x, layers[2 * k - 1], noise), modulation)
        x = block.conv1(x, layers[2 * k], noise)
        image = upsample(image) + block.pixels(x, layers[2 * k + 1])
    return image


def _blocks(synthesis: StyleSynthesis) -> list[StyleBlock]:
    return [block for block in synthesis.blocks if isinstance(block, StyleBlock)]


# -- the clean generator -----------------------------------------------------------------------------


class PlainModulated(nn.Module):
    """A convolution ``(B, I, S, S)`` to ``(B, O, S, S)`` whose inputs a code scales; demodulated, or 1x1 and not."""

    def __init__(self, inputs: int, outputs: int, width: int, kernel: int) -> None:
        super().__init__()
        self.affine = nn.Linear(width, inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) / math.sqrt(inputs * kernel**2))
        self.stored = math.sqrt(inputs * kernel**2)  # by which stored weights are smaller than equalised ones
        self.demodulate = kernel > 1

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        gain = GAIN if self.demodulate else 1.0
        weight = self.weight * self.stored
        return modulated_conv2d(x, weight, self.affine(code), demodulate=self.demodulate, gain=gain)


class PlainLayer(nn.Module):
    """A modulated 3x3 convolution, noise, a bias and a leaky ReLU; ``up`` doubles the sides first."""

    noise: Tensor

    def __init__(self, inputs: int, outputs: int, width: int, side: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = PlainModulated(inputs, outputs, width, 3)
        self.strength = nn.Parameter(torch.zeros(1))  # of the noise
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise", torch.randn(side, side))
        self.up = up

    def forward(self, x: Tensor, code: Tensor, noise: Noise) -> Tensor:
        x = self.conv(_resized(x, 2.0) if self.up else x, code)
        if noise != "none":
            x = x + noise_of(self.noise, len(x), noise) * self.strength
        return leaky_relu(x + self.bias[:, None, None], SLOPE)


class PlainPixels(nn.Module):
    """Maps to what they add to the picture, ``(B, C, S, S)``."""

    def __init__(self, inputs: int, channels: int, width: int) -> None:
        super().__init__()
        self.conv = PlainModulated(inputs, channels, width, 1)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        added: Tensor = self.conv(x, code) + self.bias[:, None, None]
        return added


class PlainGenerator(nn.Module):
    """The clean StyleGAN2: codes ``(B, L, W)`` and modulations to pictures ``(B, C, S, S)``, not bounded.

    Its ``mapping`` draws codes of latents; a restorer has no use for it, and files hold it.
    """

    def __init__(self, widths: Sequence[int], width: int, channels: int = 3, mapping: int = 8) -> None:
        super().__init__()
        self.mapping = nn.ModuleList(nn.Linear(width, width) for _ in range(mapping))
        self.const = nn.Parameter(torch.randn(widths[0], SMALLEST, SMALLEST))
        sides = [SMALLEST << k for k in range(1, len(widths))]
        ends = [(*pair, side) for pair, side in zip(pairwise(widths), sides, strict=True)]
        self.first = PlainLayer(widths[0], widths[0], width, SMALLEST)
        self.conv0 = nn.ModuleList(PlainLayer(below, here, width, side, up=True) for below, here, side in ends)
        self.conv1 = nn.ModuleList(PlainLayer(here, here, width, side) for _, here, side in ends)
        self.pixels = nn.ModuleList(PlainPixels(w, channels, width) for w in widths)
        self.layers = 2 * len(widths)

    def codes(self, latent: Tensor) -> Tensor:
        """The code ``(B, W)`` of latents ``(B, W)``."""
        code = unit(latent)
        for layer in self.mapping:
            code = leaky_relu(layer(code), SLOPE)
        return code

    def forward(self, codes: Tensor, modulations: Sequence[Modulation], noise: Noise) -> Tensor:
        layers = codes.unbind(1)
        x = self.first(self.const.expand(len(codes), *self.const.shape), layers[0], noise)
        image: Tensor = self.pixels[0](x, layers[1])
        for k, (conv0, conv1, modulation) in enumerate(zip(self.conv0, self.conv1, modulations, strict=True), 1):
            x = channel_split(conv0(x, layers[2 * k - 1], noise), modulation)
            x = conv1(x, layers[2 * k], noise)
            image = _resized(image, 2.0) + self.pixels[k](x, layers[2 * k + 1])
        return image


class FaceNet(PictureNetwork):
    """The published network: faces ``(B, C, S, S)`` in [0, 1], S its ``side``, to better ones.

    Its noise is the one that lies in its file, so that a face always becomes the same; the authors' program draws it.
    """

    scale = 1

    def __init__(self, widths: Sequence[int], *, width: int = 512, channels: int = 3, mapping: int = 8) -> None:
        super().__init__()
        self.channels = channels
        self.side = SMALLEST << (len(widths) - 1)
        self.reach, self.floats = self.side, 8 * max(widths)
        self.generator = PlainGenerator(widths, width, channels, mapping)
        self.removal = DegradationRemoval(widths, self.generator.layers, width, channels)

    def forward(self, x: Tensor) -> Tensor:
        codes, modulations, _ = self.removal(2 * x - 1)
        made: Tensor = self.generator(codes, modulations, "constant")
        return (made + 1) / 2


def _resized(x: Tensor, factor: float) -> Tensor:
    return interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def _two_convs(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(SLOPE), nn.Conv2d(width, width, 3, padding=1)
    )
