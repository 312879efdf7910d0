"""The generator of SAGAN: every norm has a gain and a bias of its own for each class.

Zhang, Goodfellow, Metaxas and Odena 2018 (1805.08318). Counts at 128x128x3 of 1000 classes, width 64, attention at 32
pixels: 42,078,852; the discriminator, a :class:`SpectralDiscriminator`, 39,463,618.

Axes: S side of a square picture.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.nn.conditional_norm import ConditionalBatchNorm2d
from zeuxis.nn.initialise import variance_scaling
from zeuxis.nn.spectral_resnet import SpectralGenerator, SpectralUp


def table(classes: int, channels: int) -> nn.Linear:
    """A row of numbers for each class, chosen by a one-hot ``(B, K)``."""
    return nn.Linear(classes, channels, bias=False)


class SAGANGenerator(SpectralGenerator):
    """Latents ``(B, nz)``, and classes as one-hot rows ``(B, K)``, to images ``(B, C, S, S)`` in [-1, 1]."""

    def __init__(
        self, shape: Shape, *, nz: int, classes: int, widths: Sequence[int], attention: Collection[int]
    ) -> None:
        super().__init__(
            shape,
            first=nz,
            widths=widths,
            attention=attention,
            block=lambda one, two: SpectralUp(one, two, classes, table),
        )
        variance_scaling(self)
        for module in self.modules():
            if isinstance(module, ConditionalBatchNorm2d):
                for each in (module.gain, module.bias):
                    if each is not None:
                        nn.init.zeros_(each.weight)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(z, [y] * len(self.blocks))
