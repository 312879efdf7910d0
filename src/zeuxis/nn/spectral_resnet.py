"""The residual networks that SAGAN and BigGAN share: spectral normalisation in both, conditional norms, attention.

Miyato and Koyama 2018 (1802.05637) for the blocks and the projection on the class; Zhang et al. 2018 (1805.08318) for
spectral normalisation of the generator too, and attention. Channels are listed from 4 pixels up. Keys in a widely used
public program (BigGAN-PyTorch) -> here: ``linear`` -> first (of the discriminator: head), ``blocks.k.0.{bn1,bn2}`` ->
blocks.k.{norm1,norm2}, ``blocks.k.0.{conv1,conv2,conv_sc}`` -> blocks.k.{conv1,conv2,skip}, ``blocks.k.1`` ->
attention.SIDE, ``output_layer.0`` -> norm, ``output_layer.2`` -> last, ``embed`` -> embedding, transposed, and ``u0``
of each layer -> u (of ``embed`` there is one of other size).

Axes: Y numbers of what a block is told, S side of a square picture, I and O channels in and out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from zeuxis.batch import Shape
from zeuxis.errors import UsageError
from zeuxis.nn.box_conv import Resample
from zeuxis.nn.conditional_norm import ConditionalBatchNorm2d, Maps
from zeuxis.nn.dcgan import SMALLEST
from zeuxis.nn.non_local import NonLocal
from zeuxis.nn.r3gan import levels
from zeuxis.nn.spectral import SpectralConv2d, SpectralLinear

Block = Callable[[int, int], nn.Module]  # of channels before and after


def attentions(sides: Collection[int], widths: dict[int, int]) -> nn.ModuleDict:
    """One for each of ``sides``, where maps of that side have ``widths[side]`` channels. :class:`UsageError` for a side
    that no block makes."""
    strange = sorted(set(sides) - widths.keys())
    if strange:
        raise UsageError(f"attention at {strange[0]} pixels: the blocks make maps of {', '.join(map(str, widths))}")
    return nn.ModuleDict({str(side): NonLocal(widths[side]) for side in sorted(sides)})


class SpectralUp(nn.Module):
    """``(B, I, H, W) -> (B, O, 2H, 2W)``: norm, ReLU, double, conv, norm, ReLU, conv, beside a 1x1 and double."""

    def __init__(self, inputs: int, outputs: int, y_width: int, maps: Maps) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm2d(inputs, y_width, maps)
        self.conv1 = SpectralConv2d(inputs, outputs, 3, resample=Resample.DOUBLE)
        self.norm2 = ConditionalBatchNorm2d(outputs, y_width, maps)
        self.conv2 = SpectralConv2d(outputs, outputs, 3)
        self.skip = SpectralConv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.conv1(relu(self.norm1(x, y)))
        h = self.conv2(relu(self.norm2(h, y)))
        return h + interpolate(self.skip(x), scale_factor=2)  # a 1x1 commutes with doubling, and is cheaper before


class SpectralDown(nn.Module):
    """``(B, I, H, W) -> (B, O, H/2, W/2)``, or of the same size unless ``down``; the ``first`` begins with pixels."""

    def __init__(self, inputs: int, outputs: int, *, first: bool, down: bool) -> None:
        super().__init__()
        self.conv1 = SpectralConv2d(inputs, outputs, 3)
        self.conv2 = SpectralConv2d(outputs, outputs, 3, resample=Resample.HALVE if down else Resample.NONE)
        self.skip = SpectralConv2d(inputs, outputs, 1) if down or inputs != outputs else None
        self.first, self.down = first, down

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(relu(self.conv1(x if self.first else relu(x))))
        x = avg_pool2d(x, 2) if self.down else x
        return h + (x if self.skip is None else self.skip(x))


def plain_blocks(channels: int, widths: Sequence[int]) -> list[nn.Module]:
    """Those of a discriminator of so many ``channels`` of pixels, fine to coarse: the last does not halve."""
    before, last = [channels, *widths[:-1]], len(widths) - 1
    return [SpectralDown(before[k], width, first=k == 0, down=k < last) for k, width in enumerate(widths)]


class SpectralGenerator(nn.Module):
    """``z`` ``(B, first)``, and for each block what it is told ``(B, Y)``, to images ``(B, C, S, S)`` in [-1, 1].

    ``block`` makes one that doubles the sides, such as :class:`SpectralUp`, of channels before and after.
    """

    def __init__(
        self, shape: Shape, *, first: int, widths: Sequence[int], attention: Collection[int], block: Block
    ) -> None:
        super().__init__()
        levels(shape, widths, "multiples")
        self.first = SpectralLinear(first, widths[0] * SMALLEST**2)
        self.blocks = nn.ModuleList(block(one, two) for one, two in pairwise(widths))
        self.attention = attentions(attention, {SMALLEST << k: w for k, w in enumerate(widths) if k})
        self.norm = nn.BatchNorm2d(widths[-1])
        self.last = SpectralConv2d(widths[-1], shape.channels, 3)

    def forward(self, z: Tensor, told: Sequence[Tensor]) -> Tensor:
        x = self.first(z).unflatten(1, (-1, SMALLEST, SMALLEST))
        for block, y in zip(self.blocks, told, strict=True):
            x = block(x, y)
            side = str(x.shape[-1])
            if side in self.attention:
                x = self.attention[side](x)
        image: Tensor = self.last(relu(self.norm(x)))
        return image.tanh()


class SpectralDiscriminator(nn.Module):
    """Images ``(B, C, S, S)``, and classes as one-hot rows ``(B, K)``, to logits ``(B,)``.

    ``widths`` are the generator's, from 4 pixels up; the last block does not halve. Sums over places, and the product
    with a vector of the class (a projection; Miyato and Koyama 2018, Eq. 3), make the logit. With ``block``, pixels
    become maps by a convolution, and all blocks, which it makes of channels before and after, halve.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        widths: Sequence[int],
        attention: Collection[int],
        classes: int = 0,
        block: Block | None = None,
    ) -> None:
        super().__init__()
        levels(shape, widths, "multiples")
        fine = list(reversed(widths))
        self.stem = None if block is None else SpectralConv2d(shape.channels, fine[0], 3)
        self.blocks = nn.ModuleList(
            plain_blocks(shape.channels, fine) if block is None else [block(one, two) for one, two in pairwise(fine)]
        )
        halved = fine[:-1] if block is None else fine[1:]  # channels after each halving
        self.attention = attentions(attention, {shape.height >> k: width for k, width in enumerate(halved, 1)})
        self.head = SpectralLinear(widths[0], 1)
        self.embedding = SpectralLinear(classes, widths[0], bias=False) if classes else None

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        x = image if self.stem is None else self.stem(image)
        for block in self.blocks:
            before = x.shape[-1]
            x = block(x)
            side = str(x.shape[-1])
            if x.shape[-1] < before and side in self.attention:
                x = self.attention[side](x)
        h = relu(x).sum((2, 3))
        logit: Tensor = self.head(h)[:, 0]
        if self.embedding is None:
            return logit
        return logit + (self.embedding(label) * h).sum(1)
