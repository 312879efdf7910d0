"""Masks in whatever form people keep them: white on black, 0 and 1, class numbers, palettes, colours, 16 bits, alpha.

A mask's own file cannot tell a faint grey from the number of a class, so how light it must be is one decision over all
masks of a folder: where hardly any pixel is light (more than half of white), every value but 0 is something.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeuxis.data.picture import WIDE_MODES, PictureRefused, composited, read_kept, transparent
from zeuxis.data.source import Array

LOOKED_AT = 256  # masks of a folder, evenly spaced, that decide
DIM = 4  # times as many dim pixels as light ones: they are class numbers
GREY = 12  # levels by which the channels of a grey picture may differ, if it is lossy


@dataclass(frozen=True)
class RawMask:
    """A mask's brightness (H, W) from 0 to ``top``; of a ``lossy`` file small values are no class numbers."""

    values: Array
    top: int
    lossy: bool

    @property
    def light(self) -> int:
        """How many pixels are lighter than half of white."""
        return int((self.values > self.top // 2).sum())

    @property
    def dim(self) -> int:
        """How many are darker and not 0, where those may be class numbers."""
        return 0 if self.lossy else int((self.values > 0).sum()) - self.light

    def read(self, numbers: bool) -> Array:
        """uint8 (H, W), 1 where something is; ``numbers`` says that values are the numbers of classes."""
        return (self.values > (0 if numbers and not self.lossy else self.top // 2)).astype(np.uint8)


def read_mask(file: Path) -> RawMask:
    """The mask in a picture file: its alpha where that varies, or its brightness, or where it has any colour.

    Raises:
        PictureRefused: it cannot be decoded.
    """
    picture = read_kept(file)
    lossy = picture.format in ("JPEG", "MPO")
    if picture.mode == "F":
        raise PictureRefused("floating-point pixels: convert it to 8 or 16 bits", "unsupported")
    if picture.mode in WIDE_MODES:
        wide = np.asarray(picture).astype(np.int64)
        most = int(wide.max(initial=0))
        return RawMask(wide, 255 if most <= 255 else max(65535, most), lossy)
    if transparent(picture):
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
        if np.ptp(alpha):
            return RawMask(alpha, 255, lossy)
        picture = picture.convert("RGB")
    if picture.mode in ("1", "L"):
        return RawMask(np.asarray(picture.convert("L")), 255, lossy)
    colours = np.asarray(composited(picture, grey=False))
    if (np.ptp(colours, axis=-1) <= (GREY if lossy else 0)).all():
        return RawMask(colours[..., 0], 255, lossy)
    strongest = colours.max(-1)
    return RawMask(strongest if lossy else np.where(strongest > 0, 255, 0), 255, lossy)


def are_numbers(counts: Iterable[tuple[int, int]]) -> bool:
    """Whether the masks of a folder, of which there are so many (light, dim) pixels, hold class numbers."""
    light, dim = (sum(each) for each in zip((0, 0), *counts, strict=True))
    return dim > DIM * light
