"""Spatially adaptive normalisation and its networks (Park et al. 2019, 1903.07291, section 3 and appendix A).

Axes: K classes of the layout, h and w rows and columns of a map.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.nn.spectral import SpectralConv2dUV

LEFT = 4  # cells a side of the encoder's last map


class LayoutNorm(nn.Module):
    """Eq. 1: normalised over the batch, then scaled and moved, place by place, by what the layout says there.

    ``hidden`` are the channels of the layout's embedding.
    """

    def __init__(self, channels: int, classes: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.shared = nn.Conv2d(classes, hidden, 3, padding=1)
        self.gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, layout: Tensor) -> Tensor:
        """``x`` ``(B, C, h, w)`` under the layout ``(B, K, H, W)`` of ones and zeros, read at the nearest pixel."""
        m = self.shared(F.interpolate(layout, size=x.shape[2:], mode="nearest")).relu()
        out: Tensor = self.norm(x) * (1 + self.gamma(m)) + self.beta(m)
        return out


class SpadeBlock(nn.Module):
    """Figure 4 (left): two normalised convolutions around a residual, itself normalised where the channels change."""

    def __init__(self, inputs: int, outputs: int, classes: int, hidden: int) -> None:
        super().__init__()
        middle = min(inputs, outputs)
        self.norm_0, self.norm_1 = LayoutNorm(inputs, classes, hidden), LayoutNorm(middle, classes, hidden)
        self.conv_0 = SpectralConv2dUV(inputs, middle, 3, padding=1)
        self.conv_1 = SpectralConv2dUV(middle, outputs, 3, padding=1)
        self.norm_s = LayoutNorm(inputs, classes, hidden) if inputs != outputs else None
        self.conv_s = SpectralConv2dUV(inputs, outputs, 1, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor, layout: Tensor) -> Tensor:
        h = self.conv_0(F.leaky_relu(self.norm_0(x, layout), 0.2))
        h = self.conv_1(F.leaky_relu(self.norm_1(h, layout), 0.2))
        if self.conv_s is not None and self.norm_s is not None:
            x = self.conv_s(self.norm_s(x, layout))
        return x + h


class SpadeGenerator(nn.Module):
    """A layout ``(B, K, H, W)``, and a code ``(B, nz)`` where there is one, to images ``(B, C, H, W)`` in [-1, 1].

    The side is doubled ``doublings`` times: 5 in the authors' program's words is normal, 6 "more" and 7 "most"; fewer
    leave out the blocks of the finest sides. Without a code (``nz`` 0) it begins with the layout, reduced.
    """

    def __init__(
        self, shape: Shape, classes: int, *, ngf: int = 64, nz: int = 256, doublings: int = 6, hidden: int = 128
    ) -> None:
        super().__init__()
        self.start = (shape.height // 2**doublings, shape.width // 2**doublings)
        self.nz, self.wide = nz, 16 * ngf
        self.first = (
            nn.Linear(nz, self.wide * self.start[0] * self.start[1])
            if nz
            else nn.Conv2d(classes, self.wide, 3, padding=1)
        )
        self.head = SpadeBlock(self.wide, self.wide, classes, hidden)
        self.middle = nn.ModuleList(SpadeBlock(self.wide, self.wide, classes, hidden) for _ in range(2))
        self.between = doublings > 5  # whether the side is doubled between the two middle blocks too
        widths = [16 * ngf // 2**k for k in range(doublings - self.between)]  # halved with every later doubling
        self.ups = nn.ModuleList(SpadeBlock(c, to, classes, hidden) for c, to in pairwise(widths))
        self.last = nn.Conv2d(widths[-1], shape.channels, 3, padding=1)
        initialise_xavier(self)

    def forward(self, layout: Tensor, z: Tensor | None = None) -> Tensor:
        x: Tensor
        if z is None:
            x = self.first(F.interpolate(layout, size=self.start, mode="nearest"))
        else:
            x = self.first(z).unflatten(1, (self.wide, *self.start))
        x = self.middle[0](doubled(self.head(x, layout)), layout)
        x = self.middle[1](doubled(x) if self.between else x, layout)
        for block in self.ups:
            x = block(doubled(x), layout)
        image: Tensor = self.last(F.leaky_relu(x, 0.2))
        return image.tanh()


class StyleEncoder(nn.Module):
    """Images ``(B, C, H, W)`` to the mean and the log-variance ``(B, nz)`` of their code (figure 14).

    Strided convolutions down to 4x4, of the picture made square, with ``most`` pixels a side or fewer.
    """

    def __init__(self, shape: Shape, *, ngf: int = 64, nz: int = 256, most: int = 256) -> None:
        super().__init__()
        self.side = 2 * LEFT
        while 2 * self.side <= min(shape.height, shape.width, most):
            self.side *= 2
        halvings = (self.side // LEFT).bit_length() - 1
        widths = [shape.channels, *(ngf * min(2**k, 8) for k in range(halvings))]
        self.layers = nn.ModuleList(
            SpectralConv2dUV(c, to, 3, stride=2, padding=1, bias=False) for c, to in pairwise(widths)
        )
        self.mean = nn.Linear(widths[-1] * LEFT**2, nz)
        self.log_variance = nn.Linear(widths[-1] * LEFT**2, nz)
        initialise_xavier(self)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = image
        if tuple(x.shape[2:]) != (self.side, self.side):
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear")
        for layer in self.layers:
            x = F.leaky_relu(F.instance_norm(layer(x)), 0.2)
        return self.mean(x.flatten(1)), self.log_variance(x.flatten(1))


def doubled(x: Tensor) -> Tensor:
    """Every pixel four times."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def initialise_xavier(net: nn.Module, gain: float = 0.02) -> None:
    """Convolutions and full layers from Glorot and Bengio's normal distribution, times ``gain``; biases zero."""
    for m in net.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_normal_(m.weight, gain)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
