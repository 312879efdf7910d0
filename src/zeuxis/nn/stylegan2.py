"""The networks of StyleGAN2: a mapping from latents to styles, a generator that they modulate, and its discriminator.

Karras, Laine, Aittala, Hellsten, Lehtinen and Aila 2019 (1912.04958), configurations E and F by their widths. A
generator's pictures are the sum of what every resolution adds; the discriminator is residual. Counts of configuration F
at 1024 pixels in colour: 30,370,060 and 29,012,513.

Axes: Z numbers of a latent, W numbers of a style code, L layers that are given a code each, S side of a square map or
picture, I and O channels in and out, M rows of the map from a code to the styles of a layer, G groups of pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, one_hot

from zeuxis.batch import Shape
from zeuxis.errors import Unsupported, UsageError, lookup
from zeuxis.nn.dcgan import SMALLEST, halvings
from zeuxis.nn.fourier import FourierInput
from zeuxis.nn.modulated import EPSILON, GAIN, SLOPE, EqualConv2d, EqualLinear, modulated_conv2d
from zeuxis.nn.upfirdn import upsample
from zeuxis.rng import Rng

Noise = Rng | Literal["constant", "none"]  # drawn afresh; the same for every picture; left out
Full = Callable[[int, int], nn.Module]  # a full layer of so many inputs and outputs
MAPPING_RATE = 0.01  # of the mapping's learning rate, as a share of the others'


def sides(shape: Shape) -> list[int]:
    """4, 8, 16, ... to the picture's side. Raises :class:`UsageError` unless it is one of those."""
    return [SMALLEST << k for k in range(halvings(shape) + 1)]


def widths_of(shape: Shape, base: int, most: int) -> list[int]:
    """Channels at each side: ``base`` over it, at most ``most``. :class:`UsageError` where that is none."""
    found = [min(base // side, most) for side in sides(shape)]
    if min(found) < 1:
        raise UsageError(
            f"channels of {base} over the side, at most {most}: no channel is left at {shape.height} pixels; give"
            f" {shape.height} or more (channel_base, judge_base), and 1 or more (channel_max, judge_max)"
        )
    return found


def must_be_clamp(clamp: float | None) -> None:
    """Raise :class:`UsageError` for a bound of activations that leaves nothing of them."""
    if clamp is not None and not clamp > 0:
        raise UsageError(f"clamp is {clamp:g}: give the largest size of an activation, such as 256, or leave it out")


def unit(x: Tensor) -> Tensor:
    """Each row ``(B, D)`` divided by its root mean square."""
    return x * (x.square().mean(1, keepdim=True) + EPSILON).rsqrt()


class StyleMapping(nn.Module):
    """Latents ``(B, Z)``, classes ``(B,)`` or both to style codes ``(B, W)``, by full layers of a leaky ReLU."""

    def __init__(
        self, latent: int, width: int, *, layers: int = 8, classes: int = 0, layer: Full | None = None
    ) -> None:
        super().__init__()
        self.classes = classes
        self.embed = EqualLinear(classes, width) if classes else None
        first = latent + (width if classes else 0)
        if layers < (first != width):
            raise UsageError(
                f"a mapping of {layers} layers leaves {first} numbers, and codes have {width}: give 1 or more"
            )
        full = layer or partial(EqualLinear, rate=MAPPING_RATE, active=True)
        self.layers = nn.Sequential(*(full(width if k else first, width) for k in range(layers)))

    def forward(self, latent: Tensor | None, label: Tensor | None = None) -> Tensor:
        parts = [] if latent is None else [unit(latent)]
        if self.embed is not None:
            assert label is not None
            parts.append(unit(self.embed(one_hot(label, self.classes))))
        code: Tensor = self.layers(torch.cat(parts, 1))
        return code


class StyleLayer(nn.Module):
    """A modulated 3x3 convolution, noise, a bias and a leaky ReLU; ``up`` doubles the sides to ``side``."""

    noise: Tensor

    def __init__(
        self, inputs: int, outputs: int, width: int, side: int, *, up: bool = False, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.affine = EqualLinear(width, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.strength = nn.Parameter(torch.zeros(()))  # of the noise
        self.register_buffer("noise", torch.randn(side, side))
        self.up, self.clamp = up, clamp

    def forward(self, x: Tensor, code: Tensor, noise: Noise) -> Tensor:
        x = modulated_conv2d(x, self.weight, self.affine(code), up=self.up, gain=GAIN)
        if noise != "none":
            x = x + (noise_of(self.noise, len(x), noise) * (self.strength * GAIN)).to(x.dtype)
        x = leaky_relu(x + (self.bias * GAIN).to(x.dtype)[:, None, None], SLOPE)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


def noise_of(kept: Tensor, n: int, noise: Noise) -> Tensor:
    """The ``kept`` noise ``(S, S)``, or ``(n, 1, S, S)`` where every picture has its own."""
    return kept if isinstance(noise, str) else noise.normal(n, 1, *kept.shape, device=kept.device)


class ToPixels(nn.Module):
    """Maps to what they add to the picture, ``(B, C, S, S)`` float32: modulated, not demodulated, 1x1."""

    def __init__(self, inputs: int, channels: int, width: int, clamp: float | None = None) -> None:
        super().__init__()
        self.affine = EqualLinear(width, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.clamp = clamp

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y = modulated_conv2d(x, self.weight, self.affine(code), demodulate=False).float() + self.bias[:, None, None]
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


class StyleBlock(nn.Module):
    """One resolution of the generator, twice the one below; the lowest begins with a constant, or with waves."""

    def __init__(
        self, inputs: int, outputs: int, width: int, side: int, channels: int, clamp: float | None, waves: bool = False
    ) -> None:
        super().__init__()
        lowest = side == SMALLEST
        self.const = nn.Parameter(torch.randn(outputs, side, side)) if lowest and not waves else None
        self.waves = FourierInput(outputs, side, side, side / 2, None) if lowest and waves else None
        self.conv0 = None if lowest else StyleLayer(inputs, outputs, width, side, up=True, clamp=clamp)
        self.conv1 = StyleLayer(outputs, outputs, width, side, clamp=clamp)
        self.pixels = ToPixels(outputs, channels, width, clamp)

    def forward(
        self,
        x: Tensor | None,
        image: Tensor | None,
        codes: Iterator[Tensor],
        last: Tensor,
        noise: Noise,
        transform: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Maps and picture of the block below, to this one's; ``last`` is the code that its pixels are made with."""
        if self.conv0 is not None:
            x = self.conv0(x, next(codes), noise)
        elif self.waves is not None:
            x = self.waves(last, transform)
        else:
            assert self.const is not None
            x = self.const.expand(len(last), *self.const.shape)
        x = self.conv1(x, next(codes), noise)
        added = self.pixels(x, last)
        return x, added if image is None else upsample(image) + added


class Synthesis(nn.Module):
    """What makes pictures of codes ``(B, L, W)``, one for each of its ``layers``, and of noise."""

    layers: int


class StyleSynthesis(Synthesis):
    """Codes ``(B, L, W)``, one for each layer, to pictures ``(B, C, S, S)`` float32, not bounded."""

    def __init__(
        self,
        shape: Shape,
        width: int,
        *,
        channel_base: int = 32768,
        channel_max: int = 512,
        input_maps: Literal["constant", "fourier"] = "constant",
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.waves = lookup("input_maps", input_maps, {"constant": False, "fourier": True})
        blocks, below = [], 0
        for side, channels in zip(sides(shape), widths_of(shape, channel_base, channel_max), strict=True):
            blocks.append(StyleBlock(below, channels, width, side, shape.channels, clamp, self.waves))
            below = channels
        self.blocks = nn.ModuleList(blocks)
        self.layers = 2 * len(blocks)  # L: a block's pixels share their code with the next one's first layer

    def forward(self, codes: Tensor, noise: Noise, transform: Tensor | None = None) -> Tensor:
        """``transform``: see :class:`~zeuxis.nn.fourier.FourierInput`; a constant cannot be moved: Unsupported."""
        if transform is not None and not self.waves:
            raise Unsupported(
                "a generator that begins with a constant cannot be moved or turned: train one with input_maps 'fourier'"
            )
        layers = codes.unbind(1)
        each = iter(layers)
        x = image = None
        for k, block in enumerate(self.blocks):
            x, image = block(x, image, each, layers[2 * k + 1], noise, transform)
        assert image is not None
        return image

    def affine_weights(self) -> list[Tensor]:
        """The maps ``(I, W)`` from the code of each layer to its styles, in order."""
        return [layer.affine.weight for layer in self.modules() if isinstance(layer, StyleLayer)]


class Layered(Protocol):
    """What draws pictures of codes ``(B, L, W)``, one for each of its layers."""

    layers: int  # L

    def affine_weights(self) -> list[Tensor]:
        """The maps ``(M, W)`` from the code of each layer to its styles, in order; M differs."""
        ...


S = TypeVar("S", bound=Layered)


class StyleGenerator(nn.Module, Generic[S]):
    """The mapping and the synthesis, together what the generator learns.

    ``mean`` is the running mean of codes, towards which truncation draws them; who trains moves it.
    """

    mean: Tensor

    def __init__(self, mapping: StyleMapping, synthesis: S, width: int) -> None:
        super().__init__()
        self.mapping, self.synthesis = mapping, synthesis
        self.register_buffer("mean", torch.zeros(width))

    def spread(self, code: Tensor) -> Tensor:
        """The code ``(B, W)`` of each picture for all of its layers, ``(B, L, W)``."""
        return code[:, None].expand(-1, self.synthesis.layers, -1)

    def truncated(self, codes: Tensor, psi: float, layers: int | None = None) -> Tensor:
        """Codes ``(B, L, W)``, of the first ``layers`` or all at ``psi`` times their distance from the mean code."""
        if psi == 1:
            return codes
        near = self.mean.lerp(codes, psi)
        return near if layers is None else torch.cat([near[:, :layers], codes[:, layers:]], 1)


class DeviationOfBatch(nn.Module):
    """One more map: how far the pictures of a group differ, so that a generator without variety is found out.

    Groups are ``group`` pictures, interleaved, or as many as the largest number below that divides the batch. Where
    none but 1 does (a batch of 5 or 7), a group of one would say nothing: they are of ``group`` pictures or a few more.
    One picture alone is compared with nothing: its map is zero.
    """

    def __init__(self, group: int = 4) -> None:
        super().__init__()
        if group < 1:
            raise UsageError(f"group is {group}: it counts pictures that are compared, 1 or more; 1 compares none")
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        n = len(x)
        size = next(size for size in range(min(self.group, n), 0, -1) if n % size == 0)
        if size > 1 or self.group == 1:
            deviation = self._within(x.float().view(size, n // size, *x.shape[1:])).repeat(size)
        else:
            groups = max(1, n // self.group)
            each = [self._within(x[k::groups].float()[:, None]) for k in range(groups)]
            deviation = torch.cat([each[k % groups] for k in range(n)])
        feature = deviation.view(n, 1, 1, 1).expand(-1, 1, *x.shape[2:])
        return torch.cat([x, feature.to(x.dtype)], 1)

    @staticmethod
    def _within(groups: Tensor) -> Tensor:
        """The mean deviation ``(G,)`` of maps ``(pictures, G, C, S, S)`` within each of G groups."""
        variance = (groups - groups.mean(0)).square().mean(0)
        return (variance + EPSILON).sqrt().mean((1, 2, 3))


class ResidualDown(nn.Module):
    """``(B, I, S, S)`` to ``(B, O, S/2, S/2)``: two convolutions beside a 1x1, each of half the power."""

    def __init__(self, inputs: int, outputs: int, clamp: float | None) -> None:
        super().__init__()
        self.conv0 = EqualConv2d(inputs, inputs, 3, clamp=clamp)
        self.conv1 = EqualConv2d(inputs, outputs, 3, down=True, clamp=clamp)
        self.skip = EqualConv2d(inputs, outputs, 1, down=True, active=False)

    def forward(self, x: Tensor) -> Tensor:
        half = math.sqrt(0.5)
        y: Tensor = self.skip(x, half) + self.conv1(self.conv0(x), half)
        return y


class StyleDiscriminator(nn.Module):
    """Pictures ``(B, C, S, S)`` to logits ``(B,)`` float32; of classes, by projection on a code of the class."""

    def __init__(
        self,
        shape: Shape,
        *,
        channel_base: int = 32768,
        channel_max: int = 512,
        group: int = 4,
        mapping: int = 8,
        classes: int = 0,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        widths = widths_of(shape, channel_base, channel_max)[::-1]
        self.pixels = EqualConv2d(shape.channels, widths[0], 1, clamp=clamp)
        self.blocks = nn.Sequential(*(ResidualDown(one, two, clamp) for one, two in pairwise(widths)))
        last = widths[-1]
        self.deviation = DeviationOfBatch(group)
        self.conv = EqualConv2d(last + 1, last, 3, clamp=clamp)
        self.hidden = EqualLinear(last * SMALLEST**2, last, active=True)
        self.out = EqualLinear(last, last if classes else 1)
        self.mapping = StyleMapping(0, last, layers=mapping, classes=classes) if classes else None

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        x = self.blocks(self.pixels(image))
        x = self.out(self.hidden(self.conv(self.deviation(x)).flatten(1)))
        if self.mapping is None:
            return x[:, 0]
        code = self.mapping(None, label)
        return (x * code).sum(1) / math.sqrt(x.shape[1])
