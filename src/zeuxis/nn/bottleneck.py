"""The blocks of BigGAN-deep: bottlenecks of four convolutions, two to a resolution, whose shortcuts learn little.

Brock, Donahue and Simonyan 2018 (1809.11096), appendix B, figure 16. Where channels fall, the shortcut drops the last
ones; where they rise, a 1x1 makes those that are missing. Keys in a widely used public program (BigGAN-PyTorch) ->
here: of the generator ``blocks.m.0`` -> blocks.k.first for m = 2 k, blocks.k.second for m = 2 k + 1, of the
discriminator ``blocks.k.{0,1}`` -> blocks.k.{first,second}; ``bn`` -> norm, ``conv_sc`` -> skip, ``input_conv`` ->
stem.

Axes: I and O channels in and out, Y numbers of what a block is told.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from zeuxis.nn.box_conv import Resample
from zeuxis.nn.conditional_norm import ConditionalBatchNorm2d, Maps
from zeuxis.nn.spectral import SpectralConv2d

NARROWER = 4  # times as few channels inside a block


class BottleneckUp(nn.Module):
    """``(B, I, H, W) -> (B, O, H, W)``, or twice the sides if ``up``; O is I or less."""

    def __init__(self, inputs: int, outputs: int, y_width: int, maps: Maps, *, up: bool) -> None:
        super().__init__()
        inside = max(1, inputs // NARROWER)
        self.norm1 = ConditionalBatchNorm2d(inputs, y_width, maps)
        self.conv1 = SpectralConv2d(inputs, inside, 1)
        self.norm2 = ConditionalBatchNorm2d(inside, y_width, maps)
        self.conv2 = SpectralConv2d(inside, inside, 3, resample=Resample.DOUBLE if up else Resample.NONE)
        self.norm3 = ConditionalBatchNorm2d(inside, y_width, maps)
        self.conv3 = SpectralConv2d(inside, inside, 3)
        self.norm4 = ConditionalBatchNorm2d(inside, y_width, maps)
        self.conv4 = SpectralConv2d(inside, outputs, 1)
        self.outputs, self.up = outputs, up

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.conv1(relu(self.norm1(x, y)))
        h = self.conv2(relu(self.norm2(h, y)))
        h = self.conv3(relu(self.norm3(h, y)))
        h = self.conv4(relu(self.norm4(h, y)))
        x = x[:, : self.outputs]
        return h + (interpolate(x, scale_factor=2) if self.up else x)


class DeepUp(nn.Module):
    """Two of them: the second doubles the sides and changes the channels."""

    def __init__(self, inputs: int, outputs: int, y_width: int, maps: Maps) -> None:
        super().__init__()
        self.first = BottleneckUp(inputs, inputs, y_width, maps, up=False)
        self.second = BottleneckUp(inputs, outputs, y_width, maps, up=True)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x, y), y)
        return out


class BottleneckDown(nn.Module):
    """``(B, I, H, W) -> (B, O, H, W)``, or half the sides if ``down``; O is I or more."""

    def __init__(self, inputs: int, outputs: int, *, down: bool) -> None:
        super().__init__()
        inside = max(1, outputs // NARROWER)
        self.conv1 = SpectralConv2d(inputs, inside, 1)
        self.conv2 = SpectralConv2d(inside, inside, 3)
        self.conv3 = SpectralConv2d(inside, inside, 3)
        self.conv4 = SpectralConv2d(inside, outputs, 1)
        self.skip = SpectralConv2d(inputs, outputs - inputs, 1) if outputs > inputs else None
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        h = relu(self.conv3(relu(self.conv2(relu(self.conv1(relu(x)))))))
        h, x = (avg_pool2d(h, 2), avg_pool2d(x, 2)) if self.down else (h, x)
        h = self.conv4(h)
        return h + (x if self.skip is None else torch.cat([x, self.skip(x)], 1))


class DeepDown(nn.Module):
    """Two of them: the first halves the sides and changes the channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = BottleneckDown(inputs, outputs, down=True)
        self.second = BottleneckDown(outputs, outputs, down=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x))
        return out
