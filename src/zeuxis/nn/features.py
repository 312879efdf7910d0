"""Networks whose inner layer serves as a feature space.

Axes: D features, K_f values of factor f.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.batch import Shape

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
            stages += [*_conv(inputs, outputs, stride), *_conv(outputs, outputs, 1)]
        self.trunk = nn.Sequential(*stages)
        self.squeeze = nn.Conv2d(widths[-1], squeeze, 1)  # fewer channels, or the next layer would hold most weights
        self.project = nn.Linear(squeeze * height * width, features)
        self.norm = nn.LayerNorm(features)
        self.heads = nn.ModuleList(nn.Linear(features, classes) for classes in heads)

    def features(self, image: Tensor) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] to the penultimate layer ``(B, D)``."""
        x = self.squeeze(self.trunk(image)).flatten(1)
        return F.silu(self.norm(self.project(x)))

    def classify(self, features: Tensor) -> tuple[Tensor, ...]:
        """Features ``(B, D)`` to logits ``(B, K_f)``, one tensor per head."""
        return tuple(head(features) for head in self.heads)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.classify(self.features(image))


def _conv(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    return (nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.GroupNorm(min(8, outputs // 4), outputs), nn.SiLU())
