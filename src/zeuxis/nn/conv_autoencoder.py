"""A small convolutional encoder and its mirror image, for models whose latent is a vector.

Without convolutions (``widths=()``) they are the one-hidden-layer perceptrons of the first papers.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.errors import Unsupported

GROUPS = 8  # of channels that are normalised together; fewer where the width does not allow it


def smallest_map(shape: Shape, stages: int) -> tuple[int, int]:
    """Rows and columns after ``stages`` halvings; :class:`Unsupported` if the sides cannot be halved so often."""
    step = 2**stages
    if shape.height % step or shape.width % step:
        raise Unsupported(
            f"images of {shape.width}x{shape.height} cannot be halved {stages} times: "
            f"choose a size that {step} divides, or fewer widths"
        )
    return shape.height // step, shape.width // step


class ConvEncoder(nn.Module):
    """Images ``(B, C, H, W)`` to ``(B, outputs)``: each width halves the sides, then one hidden layer."""

    def __init__(self, shape: Shape, outputs: int, *, widths: tuple[int, ...], hidden: int) -> None:
        super().__init__()
        rows, columns = smallest_map(shape, len(widths))
        channels = shape.channels
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Conv2d(channels, width, 4, stride=2, padding=1), norm(width), nn.SiLU()]
            channels = width
        layers += [nn.Flatten(), nn.Linear(channels * rows * columns, hidden), nn.SiLU(), nn.Linear(hidden, outputs)]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.layers(image)
        return out


class ConvDecoder(nn.Module):
    """``(B, inputs)`` to unbounded maps ``(B, C, H, W)``: the encoder's stages in reverse."""

    def __init__(self, shape: Shape, inputs: int, *, widths: tuple[int, ...], hidden: int) -> None:
        super().__init__()
        rows, columns = smallest_map(shape, len(widths))
        rising = (*reversed(widths), shape.channels)
        layers: list[nn.Module] = [nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, rising[0] * rows * columns)]
        layers += [nn.Unflatten(1, (rising[0], rows, columns))]
        for before, after in pairwise(rising):
            layers += [norm(before), nn.SiLU(), nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        out: Tensor = self.layers(latent)
        return out


def norm(channels: int) -> nn.GroupNorm:
    """Group normalisation: unlike batch normalisation it leaves the images of a batch independent."""
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels)
