"""Colours found in the whole of a picture, reduced, and laid upon its own lightness.

What colour a thing has is told by what it is, which a network sees in pictures as large as those that it learnt whole,
and not in a tile of a large photograph; and eyes see colour coarsely. So the program of Zhang, Isola and Efros 2016
(arXiv:1603.08511) colours a reduced picture too, enlarges a and b, and keeps L as it was given.

Axes: H, W of the picture; h, w of the reduced one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from zeuxis.nn.lab import lab_to_rgb, rgb_to_lab
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.streamed_tiles import Place, Tiling, in_rows

BAND = 64  # rows of the picture that are held at a time


def coloured_rows(
    network: PictureNetwork,
    learnt: tuple[int, int],
    read: Callable[[Place], Tensor],
    height: int,
    width: int,
    tiling: Tiling,
    seen: Callable[[Place, Tensor, Tensor], None],
) -> Iterator[Tensor]:
    """Rows ``(1, 3, n, W)`` in [0, 1] of a picture of H x W with the colours that the network makes of it.

    ``learnt`` are the rows and columns of the pictures that it learnt; the picture is reduced until one side is as long
    for it, and never enlarged. ``read`` and ``seen`` are those of :func:`zeuxis.nn.streamed_tiles.in_rows`.
    """
    h, w = reduced_size(height, width, learnt)
    small = reduced(read, height, width, h, w)  # (1, 3, h, w)

    def read_small(place: Place) -> Tensor:
        top, bottom, left, right = place
        return small[..., top:bottom, left:right]

    made = torch.cat([*in_rows(network, read_small, h, w, tiling, lambda place, before, after: None)], 2)
    ab = rgb_to_lab(made.clamp(0, 1))[:, 1:]  # (1, 2, h, w)
    wide = interpolate(ab, (h, width), mode="bilinear", align_corners=False)  # (1, 2, h, W)
    for top in range(0, height, BAND):
        place = (top, min(top + BAND, height), 0, width)
        given = read(place)
        light = rgb_to_lab(given)[:, :1]
        rows = lab_to_rgb(torch.cat([light, rows_between(wide, height, *place[:2])], 1))
        seen(place, given, rows)
        yield rows


def reduced_size(height: int, width: int, learnt: tuple[int, int]) -> tuple[int, int]:
    """h and w: of the picture's proportions, and one of them as learnt, unless the picture is smaller anyway."""
    by = max(1.0, min(height / learnt[0], width / learnt[1]))
    return max(1, round(height / by)), max(1, round(width / by))


def reduced(read: Callable[[Place], Tensor], height: int, width: int, h: int, w: int) -> Tensor:
    """The picture ``(1, 3, h, w)``, of which some rows are held at a time: first across, then down."""

    def narrowed(top: int) -> Tensor:
        part = read((top, min(top + BAND, height), 0, width)).float()
        return interpolate(part, (part.shape[2], w), mode="bilinear", antialias=True)

    narrow = torch.cat([narrowed(top) for top in range(0, height, BAND)], 2)  # (1, 3, H, w)
    return interpolate(narrow, (h, w), mode="bilinear", antialias=True)


def rows_between(wide: Tensor, height: int, top: int, bottom: int) -> Tensor:
    """Rows ``top`` to ``bottom`` of ``wide`` ``(1, C, h, W)`` enlarged to ``height`` rows, bilinearly."""
    h = wide.shape[2]
    at = ((torch.arange(top, bottom, device=wide.device) + 0.5) * h / height - 0.5).clamp(0, h - 1)
    before = at.floor().long()
    share = (at - before).to(wide.dtype)[:, None]
    return wide[:, :, before].lerp(wide[:, :, (before + 1).clamp_max(h - 1)], share)
