"""Maps decoded in tiles that overlap, where the whole would not fit into memory.

Each tile is decoded by itself; where two overlap their pictures pass into one another. Norms over a whole map see a
tile only, so colours differ a little from those of a picture decoded at once, and more the smaller the tiles are.

Axes: f the factor, h and w rows and columns of latents, Z channels of a latent.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def decode_in_tiles(decode: Callable[[Tensor], Tensor], latent: Tensor, tile: int, overlap: int) -> Tensor:
    """Pictures ``(B, C, f h, f w)`` of latents ``(B, Z, h, w)``, of which ``tile`` x ``tile`` are decoded at a time.

    Neighbouring tiles share at least ``overlap`` rows or columns of latents, less than a tile has; across them the
    weight of one falls linearly as the other's rises.
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"tiles of {tile} that overlap by {overlap}")
    rows, columns = (_starts(side, tile, overlap) for side in latent.shape[2:])
    made: Tensor | None = None
    total: Tensor | None = None
    for top in rows:
        for left in columns:
            part = latent[:, :, top : top + tile, left : left + tile]
            picture = decode(part)  # (B, C, f tile, f tile)
            f = picture.shape[2] // part.shape[2]
            weight = _ramp(part.shape[2] * f, overlap * f).outer(_ramp(part.shape[3] * f, overlap * f)).to(picture)
            if made is None or total is None:
                height, width = (side * f for side in latent.shape[2:])
                made, total = picture.new_zeros(*picture.shape[:2], height, width), picture.new_zeros(height, width)
            place = slice(top * f, top * f + picture.shape[2]), slice(left * f, left * f + picture.shape[3])
            made[:, :, *place] += weight * picture
            total[place] += weight
    assert made is not None and total is not None
    return made / total


def _starts(side: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin: as few as cover the side, evenly spread."""
    if side <= tile:
        return [0]
    count = -(-(side - overlap) // (tile - overlap))
    return [round(k * (side - tile) / (count - 1)) for k in range(count)]


def _ramp(length: int, overlap: int) -> Tensor:
    """Weights ``(length,)`` that rise over the first ``overlap`` and fall over the last; never 0."""
    up = (torch.arange(length) + 1.0) / (overlap + 1)
    return torch.minimum(up, up.flip(0)).clamp(max=1)
