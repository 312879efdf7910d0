"""The encoder of Context Encoders (Pathak et al. 2016, 1604.07379): a picture with a hole to a vector.

As in the authors' program, whose decoder and discriminator are DCGAN's. Biases before a norm, which the program sets to
zero after every step, are left out.

Axes: S rows and columns of a square picture.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.nn.dcgan import SMALLEST, halvings
from zeuxis.nn.norm import initialise_normal
from zeuxis.nn.point import ToPoint

SLOPE = 0.2


class ContextEncoder(nn.Module):
    """Images ``(B, C, S, S)`` to vectors ``(B, bottleneck)``: 4x4 convolutions of stride 2 to 4 pixels, and one more.

    ``nef`` is the number of channels at half and at a quarter of the picture's side; it doubles from there on.
    """

    def __init__(self, shape: Shape, *, nef: int = 64, bottleneck: int = 4000) -> None:
        super().__init__()
        widths = [nef, *(nef << level for level in range(halvings(shape) - 1))]
        layers: list[nn.Module] = [nn.Conv2d(shape.channels, nef, 4, stride=2, padding=1, bias=False)]
        layers.append(nn.LeakyReLU(SLOPE))
        for now, to in pairwise(widths):
            layers += [nn.Conv2d(now, to, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(to), nn.LeakyReLU(SLOPE)]
        self.trunk = nn.Sequential(*layers)
        self.to_point = ToPoint(widths[-1], bottleneck, SMALLEST, bias=False)
        self.head = nn.Sequential(nn.BatchNorm1d(bottleneck), nn.LeakyReLU(SLOPE))
        initialise_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        code: Tensor = self.head(self.to_point(self.trunk(x)))
        return code
