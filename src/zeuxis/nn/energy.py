"""A picture's energy: convolutions of stride 2 with a smooth activation, down to one number.

Axes: S rows and columns of a square picture.
"""

from __future__ import annotations

from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.nn.dcgan import SMALLEST, halvings


class EnergyNet(nn.Module):
    """Squares ``(B, C, S, S)`` of 8, 16, 32, ... pixels to energies ``(B,)``, any real numbers.

    4x4 convolutions that halve the side and double the ``width`` channels down to 4x4, then one number. SiLU
    (swish) and no normalisation: the energy is differentiable everywhere, and a picture's does not depend on
    the others of its batch.
    """

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, now = shape.channels, width
        for _ in range(halvings(shape)):
            layers += [nn.Conv2d(before, now, 4, stride=2, padding=1), nn.SiLU()]
            before, now = now, 2 * now
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, SMALLEST))

    @property
    def offset(self) -> Tensor:
        """The last layer's bias ``(1,)``: a constant in every energy."""
        last = self.layers[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        return last.bias

    def forward(self, x: Tensor) -> Tensor:
        energy: Tensor = self.layers(x)
        return energy.flatten()
