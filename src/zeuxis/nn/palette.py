"""Pictures as sequences of few values: evenly spaced greys, or a palette of the colours that occur.

Both have the interface of a trained tokeniser: ``codes``, ``encode`` and ``decode``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.nn.vector_quantiser import VectorQuantiser
from zeuxis.rng import Rng


class Greys(nn.Module):
    """``codes`` levels from -1 to 1, both included: with 256 of them nothing is lost."""

    def __init__(self, codes: int) -> None:
        super().__init__()
        self.codes = codes

    def encode(self, image: Tensor) -> Tensor:
        """The nearest levels, int64 ``(B, H, W)``, of images ``(B, 1, H, W)``."""
        return ((image[:, 0] + 1) / 2 * (self.codes - 1)).round().to(torch.int64).clamp(0, self.codes - 1)

    def decode(self, latent: Tensor) -> Tensor:
        """Images ``(B, 1, H, W)`` of levels ``(B, H, W)``."""
        return (latent.float() / (self.codes - 1) * 2 - 1)[:, None]


class Palette(nn.Module):
    """``codes`` colours, found by k-means over the pixels of some pictures (Chen et al. 2020, section 3.2)."""

    learnt: Tensor  # () bool

    def __init__(self, codes: int) -> None:
        super().__init__()
        self.codes = codes
        self.colours = VectorQuantiser(codes, 3, ema=True)
        self.register_buffer("learnt", torch.tensor(False))

    def learn(self, image: Tensor, rng: Rng) -> None:
        """Find the colours of images ``(B, 3, H, W)``."""
        self.colours.start(image, rng)
        self.learnt.fill_(True)

    def encode(self, image: Tensor) -> Tensor:
        """The nearest colours, int64 ``(B, H, W)``, of images ``(B, 3, H, W)``."""
        indices: Tensor = self.colours(image).indices
        return indices

    def decode(self, latent: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` in [-1, 1] of indices ``(B, H, W)``."""
        return self.colours.lookup(latent).clamp(-1, 1)
