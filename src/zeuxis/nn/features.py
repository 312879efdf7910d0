"""Networks whose inner layer serves as a feature space.

Axes: D features, K_f values of factor f.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.batch import Shape

LAYERS = 3  # of a convolution, see conv(); a stage has two
SMALLEST = 4  # pixels a side at which the trunk stops halving


class FeatureNetwork(nn.Module):
    """A small convolutional classifier: a trunk, a feature vector, and a linear head for each label or factor.

    Each stage halves the picture until a side has 4 pixels, then keeps the size. The last map is
    flattened and not averaged: factors say where things are, and not only which. Group
    normalisation, so that a picture's features do not depend on its batch.
    """

    def __init__(
        self,
        shape: Shape,
        heads: tuple[int, ...],
        *,
        widths: tuple[int, ...] = (32, 64, 128),
        squeeze: int = 64,
        features: int = 256,
    ) -> None:
        """``heads`` are the numbers of classes; ``widths`` channels of the stages; ``features`` = D."""
        super().__init__()
        stages: list[nn.Module] = []
        height, width = shape.height, shape.width
        for inputs, outputs in pairwise((shape.channels, *widths)):
            stride = 2 if min(height, width) > SMALLEST else 1
            height, width = -(-height // stride), -(-width // stride)
            stages += [*conv(inputs, outputs, stride), *conv(outputs, outputs, 1)]
        self.trunk = nn.Sequential(*stages)
        self.widths = tuple(widths)
        self.squeeze = nn.Conv2d(widths[-1], squeeze, 1)  # fewer channels, or the next layer would hold most weights
        self.project = nn.Linear(squeeze * height * width, features)
        self.norm = nn.LayerNorm(features)
        self.heads = nn.ModuleList(nn.Linear(features, classes) for classes in heads)

    def features(self, image: Tensor) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] to the penultimate layer ``(B, D)``."""
        return self._vector(self.trunk(image))

    def maps(self, image: Tensor) -> tuple[Tensor, ...]:
        """What each stage makes of the picture, fine to coarse, ``(B, C, h, w)``."""
        found = []
        for layer, module in enumerate(self.trunk, 1):
            image = module(image)
            if layer % (2 * LAYERS) == 0:
                found.append(image)
        return tuple(found)

    def map_shapes(self, height: int, width: int) -> tuple[tuple[int, int, int], ...]:
        """(C, h, w) of each of :meth:`maps`, of pictures of that size."""
        found = []
        for channels in self.widths:
            if min(height, width) > SMALLEST:
                height, width = -(-height // 2), -(-width // 2)
            found.append((channels, height, width))
        return tuple(found)

    def read(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The logits, from :meth:`maps`."""
        return self.classify(self._vector(maps[-1]))

    def classify(self, features: Tensor) -> tuple[Tensor, ...]:
        """Features ``(B, D)`` to logits ``(B, K_f)``, one tensor per head."""
        return tuple(head(features) for head in self.heads)

    def _vector(self, last: Tensor) -> Tensor:
        return F.silu(self.norm(self.project(self.squeeze(last).flatten(1))))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.classify(self.features(image))


def conv(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    """A 3x3 convolution, group normalisation and SiLU; ``stride`` 2 halves the sides."""
    return (nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.GroupNorm(min(8, outputs // 4), outputs), nn.SiLU())
