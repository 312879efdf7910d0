"""The generator of BigGAN: every block is told the class, by one embedding, and a part of the latent of its own.

Brock, Donahue and Simonyan 2018, "Large scale GAN training for high fidelity natural image synthesis" (1809.11096),
appendix B, figures 15 and 16. Counts at 128x128x3 of 1000 classes, attention at 64 pixels, width 96 and 120 numbers:
70,433,988, the discriminator, a :class:`SpectralDiscriminator`, 87,982,370; deep, of width 128 and 128 numbers:
50,244,484 and 34,590,210.

Axes: Y numbers of a class's embedding, S side of a square picture.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.errors import UsageError
from zeuxis.nn.bottleneck import DeepUp
from zeuxis.nn.spectral import SpectralLinear
from zeuxis.nn.spectral_resnet import SpectralGenerator, SpectralUp


def mixed(y_width: int, channels: int) -> nn.Linear:
    """A linear map of class and latent, spectrally normalised."""
    return SpectralLinear(y_width, channels, bias=False)


def orthogonalised(net: nn.Module) -> nn.Module:
    """Weights of convolutions and full layers orthogonal (Saxe et al. 2013), biases zero: ``net`` itself."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.orthogonal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return net


class BigGANGenerator(nn.Module):
    """Latents ``(B, nz)``, and codes of classes ``(B, Y)``, to images ``(B, C, S, S)`` in [-1, 1].

    The latent is cut into as many parts as there are blocks and one more, which makes the coarsest map ("skip-z"). If
    ``deep``, each block is two of a bottleneck, and latent and class go whole to all of them and to the coarsest map.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        nz: int,
        classes: int,
        shared: int,
        widths: Sequence[int],
        attention: Collection[int],
        deep: bool = False,
    ) -> None:
        super().__init__()
        parts = 1 if deep else len(widths)
        if nz % parts or nz < parts:
            raise UsageError(
                f"nz = {nz}: a latent is cut into {parts} parts, one a block and one more: give a multiple of {parts}"
            )
        self.part, self.deep = nz // parts, deep
        self.embedding = nn.Linear(classes, shared, bias=False) if classes else None
        told = self.part + (shared if classes else 0)
        block = DeepUp if deep else SpectralUp
        self.body = SpectralGenerator(
            shape,
            first=told if deep else self.part,
            widths=widths,
            attention=attention,
            block=lambda one, two: block(one, two, told, mixed),
        )
        orthogonalised(self)

    def code(self, y: Tensor) -> Tensor:
        """What a class, a one-hot row of ``(B, K)``, is embedded as, ``(B, Y)``; ``y`` itself where there is none."""
        return y if self.embedding is None else self.embedding(y)

    def forward(self, z: Tensor, code: Tensor) -> Tensor:
        if self.deep:
            first = torch.cat([code.to(z.dtype), z], 1)
            told = [first] * len(self.body.blocks)
        else:
            first, *others = z.split(self.part, 1)
            told = [torch.cat([code.to(z.dtype), part], 1) for part in others]
        image: Tensor = self.body(first, told)
        return image
