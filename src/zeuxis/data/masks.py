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

LOOKED_AT = 256  # masks of a folder, evenly spaced, that decide; and rows of one that are counted
DIM = 4  # times as many dim pixels as light ones: they are class numbers
VOID, MOST_NUMBER = 255, 63  # what borders have beside the numbers of classes (Pascal VOC), which are as large at most
KINDS, SHARE = 3, 0.01  # values, each of that share of a mask, from which on it tells more apart than yes and no
GREY = 12  # levels by which the channels of a grey picture may differ, if it is lossy


@dataclass(frozen=True)
class RawMask:
    """A mask's brightness (H, W) from 0 to ``top``; of a ``lossy`` file small values are no class numbers."""

    values: Array
    top: int
    lossy: bool
    kinds: int = 0  # values or colours that a part worth the name has; not counted of a lossy file, whose are blurred

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
        return RawMask(wide, 255 if most <= 255 else max(65535, most), lossy, _numbers_in(wide))
    if transparent(picture):
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
        if np.ptp(alpha):
            return RawMask(alpha, 255, lossy, kinds_in(alpha))
        picture = picture.convert("RGB")
    if picture.mode in ("1", "L"):
        plain = np.asarray(picture.convert("L"))
        return RawMask(plain, 255, lossy, 0 if lossy else _numbers_in(plain))
    colours = np.asarray(composited(picture, grey=False))
    if (np.ptp(colours, axis=-1) <= (GREY if lossy else 0)).all():
        return RawMask(colours[..., 0], 255, lossy, 0 if lossy else kinds_in(colours[..., 0]))
    strongest = colours.max(-1)
    if lossy:
        return RawMask(strongest, 255, lossy)
    codes = colours.astype(np.int64) @ (1 << 16, 1 << 8, 1)
    return RawMask(np.where(strongest > 0, 255, 0), 255, lossy, kinds_in(codes))


def kinds_in(codes: Array) -> int:
    """How many whole numbers fill more than a speck of a mask (H, W), of a large one as some of its rows show."""
    step = max(1, min(codes.shape) // LOOKED_AT)
    seen = codes[::step, ::step]
    _, counts = np.unique(seen, return_counts=True)
    return int((counts >= SHARE * seen.size).sum())


def _numbers_in(values: Array) -> int:
    """The same of levels, without the void beside the numbers of classes."""
    numbers = values[values != VOID]
    return kinds_in(numbers[None]) if 0 < int(numbers.max(initial=0)) <= MOST_NUMBER else kinds_in(values)


def are_numbers(counts: Iterable[tuple[int, int]]) -> bool:
    """Whether the masks of a folder, of which there are so many (light, dim) pixels, hold class numbers."""
    light, dim = (sum(each) for each in zip((0, 0), *counts, strict=True))
    return dim > DIM * light
