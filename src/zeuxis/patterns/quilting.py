"""Image quilting (Efros & Freeman 2001, doi:10.1145/383259.383296): a texture sewn from patches of one example.

Patches are laid in raster order. Each is chosen at random among those with the least squared difference in the
overlap with what is placed already (within ``TOLERANCE`` of the least), and joined along the minimum error cut.

Paper -> code: e = (B1 - B2)^2 -> error, E -> least, the boundary cut -> :func:`cut`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.rng import Stream

TOLERANCE = 0.1  # above the least error (Section 2.2)


def quilt(
    example: Tensor, size: tuple[int, int], patch: int, overlap: int, rng: Stream, *, sewn: bool = True
) -> Tensor:
    """A texture ``(C, *size)`` from ``example`` (C, H, W). Not ``sewn``, patches are laid at random, side by side.

    ``patch`` is the side of a patch, ``overlap`` what it shares with its neighbours: ``0 < overlap < patch <= H, W``.
    """
    c, height, width = example.shape
    step = patch - overlap
    rows, columns = -(-(size[0] - overlap) // step), -(-(size[1] - overlap) // step)
    made = example.new_zeros(c, rows * step + overlap, columns * step + overlap)
    places = (height - patch + 1, width - patch + 1)
    for r in range(rows):
        for k in range(columns):
            y, x = r * step, k * step
            here = made[:, y : y + patch, x : x + patch]
            known = example.new_zeros(patch, patch)  # 1 where something lies already
            known[: overlap if r else 0] = 1
            known[:, : overlap if k else 0] = 1
            if sewn and (r or k):
                top, left = _alike(example, here, known, rng)
            else:
                top, left = (int(rng.integers(n, 1)) for n in places)
            new = example[:, top : top + patch, left : left + patch]
            keep = _seam(here, new, overlap, bool(k), bool(r)) if sewn else torch.zeros_like(known)
            made[:, y : y + patch, x : x + patch] = torch.where(keep.bool(), here, new)
    return made[:, : size[0], : size[1]]


def _alike(example: Tensor, here: Tensor, known: Tensor, rng: Stream) -> tuple[int, int]:
    """The corner of a patch of ``example`` that agrees with ``here`` where ``known``, drawn among the best."""
    # sum k (e - h)^2 = sum k e^2 - 2 sum k e h + sum k h^2, over every place at once
    mask = known.expand_as(here)[None]
    squares = F.conv2d(example.square()[None], mask)
    cross = F.conv2d(example[None], (mask[0] * here)[None])
    error = (squares - 2 * cross + (mask[0] * here.square()).sum())[0, 0].clamp(min=0)
    near = (error <= error.min() * (1 + TOLERANCE) + 1e-6).nonzero()
    top, left = near[int(rng.integers(len(near), 1))].tolist()
    return top, left


def _seam(here: Tensor, new: Tensor, overlap: int, left: bool, top: bool) -> Tensor:
    """``(patch, patch)``: 1 where what lies there stays, 0 where the new patch goes."""
    error = (here - new).square().sum(0)
    keep = torch.zeros_like(error)
    if left:
        keep[:, :overlap] = torch.maximum(keep[:, :overlap], cut(error[:, :overlap]))
    if top:
        keep[:overlap] = torch.maximum(keep[:overlap], cut(error[:overlap].T).T)
    return keep


def cut(error: Tensor) -> Tensor:
    """The least path from top to bottom through ``error`` (N, overlap): 1 on its left, 0 from it on (Eq. 1)."""
    least = error.clone()
    for i in range(1, len(error)):
        above = F.pad(least[i - 1][None, None], (1, 1), value=torch.inf)[0, 0]
        least[i] += torch.stack([above[:-2], above[1:-1], above[2:]]).amin(0)
    keep = torch.zeros_like(error)
    j = int(least[-1].argmin())
    for i in range(len(error) - 1, -1, -1):
        keep[i, :j] = 1
        if i:
            low = max(0, j - 1)
            j = low + int(least[i - 1, low : j + 2].argmin())
    return keep


def boundary_error(made: Tensor, patch: int, overlap: int) -> float:
    """The mean squared step across the lines where patches begin, over that between all neighbours: 1 is seamless."""
    step = patch - overlap
    across, down = (made[:, :, 1:] - made[:, :, :-1]).square(), (made[:, 1:] - made[:, :-1]).square()
    # A seam may lie anywhere in an overlap; without sewing it is its first line.
    columns = [
        x - 1 + d for x in range(step, made.shape[2], step) for d in range(overlap) if x - 1 + d < across.shape[2]
    ]
    rows = [y - 1 + d for y in range(step, made.shape[1], step) for d in range(overlap) if y - 1 + d < down.shape[1]]
    seams = torch.cat([across[:, :, columns].flatten(), down[:, rows].flatten()])
    return float(seams.mean() / torch.cat([across.flatten(), down.flatten()]).mean())
