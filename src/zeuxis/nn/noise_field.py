"""Noise without end, of which each tile of a picture takes what lies where it does: where tiles overlap they agree.

Tiles that each began from the noise of a seed would all begin from the same, and the texture that a model draws of it
would repeat from tile to tile.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zeuxis.rng import Device, ImageRng, derive_seed, generator

BLOCK = 64  # pixels a side that are drawn at once


class NoiseField(ImageRng):
    """Of every draw of normal numbers ``(B, C, H, W)`` the window whose first row and column are ``top`` and ``left``.

    The k-th draw is of one field for each of ``seeds``, wherever the window lies, whatever its size. Other draws are
    those of :class:`zeuxis.rng.ImageRng`: the same at every place.
    """

    def __init__(self, seeds: Sequence[int], top: int, left: int) -> None:
        super().__init__(seeds)
        self.top, self.left, self.draws = top, left, 0

    def normal(self, *shape: int, device: Device = "cpu") -> Tensor:
        if len(shape) != 4:
            return super().normal(*shape, device=device)
        found = self._rows(shape)
        for row, seed in zip(found.unbind(), self.seeds, strict=True):
            self._fill(row, seed)
        self.draws += 1
        return found.to(device)

    def _fill(self, row: Tensor, seed: int) -> None:
        """The window ``(C, H, W)``, block by block."""
        channels, height, width = row.shape
        bottom, right = self.top + height, self.left + width
        block = torch.empty((channels, BLOCK, BLOCK), dtype=torch.float32, device="cpu")
        for down in range(self.top // BLOCK, -(-bottom // BLOCK)):
            for across in range(self.left // BLOCK, -(-right // BLOCK)):
                block.normal_(generator=generator(derive_seed(seed, "field", self.draws, down, across)))
                y, x = down * BLOCK, across * BLOCK
                first, last = max(y, self.top), min(y + BLOCK, bottom)
                begin, end = max(x, self.left), min(x + BLOCK, right)
                row[:, first - self.top : last - self.top, begin - self.left : end - self.left] = block[
                    :, first - y : last - y, begin - x : end - x
                ]
