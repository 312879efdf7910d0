"""Label maps in files: a class for every pixel, as segmentation sets and annotation tools write them.

Numbers in grey or by palette, of 8 or 16 bits; or the colours of PASCAL VOC's maps
(:func:`zeuxis.data.pairing.class_colours`). The number 255 is no class but what nobody labelled (Everingham et al.
2010): it becomes the last class, called void. The names of the classes may stand in ``classes.txt``, a line each, in
the order of their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeuxis.data.masks import MOST_NUMBER, VOID
from zeuxis.data.pairing import class_colours
from zeuxis.data.picture import GREY_MODES, WIDE_MODES, PictureRefused, read_kept
from zeuxis.data.source import Array
from zeuxis.errors import DataError

NAMES = "classes.txt"
UNLABELLED = "void"  # the name of the class of 255
BINARY = ("nothing", "something")  # of maps that hold 0 and 255 alone


@dataclass(frozen=True)
class LabelClasses:
    """The classes of a folder's maps, in order; ``void``: the last one is that of 255."""

    names: tuple[str, ...]
    void: bool

    def read(self, file: Path) -> Array:
        """A class for every pixel, uint8 ``(H, W)``.

        Raises :class:`PictureRefused` for a number that is no class, and as :func:`read_numbers`.
        """
        numbers = read_numbers(file)
        last = len(self.names) - 1
        highest = int(numbers[numbers != VOID].max(initial=0)) if self.void else int(numbers.max(initial=0))
        if highest > last - self.void:
            raise PictureRefused(
                f"its label map {file.name} holds class {highest}, and the {len(self.names) - self.void} classes are "
                f"numbered from 0 to {last - self.void}",
                "unpaired",
            )
        return (np.where(numbers == VOID, last, numbers) if self.void else numbers).astype(np.uint8)


def read_numbers(file: Path) -> Array:
    """The numbers ``(H, W)`` in a label map.

    Raises :class:`PictureRefused` for what holds none.
    """
    picture = read_kept(file)
    if picture.format in ("JPEG", "MPO"):
        raise PictureRefused(f"its label map {file.name} is a JPEG, which blurs class numbers: give a PNG", "unpaired")
    if picture.mode == "F":
        raise PictureRefused(
            f"its label map {file.name} holds floating-point pixels: save whole numbers", "unsupported"
        )
    if picture.mode in ("LA", "La"):
        picture = picture.getchannel(0)
    if picture.mode == "P" or picture.mode in GREY_MODES or picture.mode in WIDE_MODES:
        return np.asarray(picture).astype(np.int64)
    colours = np.asarray(picture.convert("RGB")).astype(np.int64)
    if (np.ptp(colours, axis=-1) == 0).all():
        return colours[..., 0]
    codes = colours @ (1 << 16, 1 << 8, 1)
    table = class_colours(VOID + 1).numpy().astype(np.int64) @ (1 << 16, 1 << 8, 1)
    order = np.argsort(table)
    found = order[np.searchsorted(table, codes, sorter=order).clip(max=VOID)]
    if (strange := codes[table[found] != codes]).size:
        raise PictureRefused(
            f"its label map {file.name} has the colour #{int(strange[0]):06x}, which is none of PASCAL VOC's classes: "
            "save class numbers, in grey or by palette",
            "unpaired",
        )
    return found


def classes_of(root: Path, numbers: Iterable[Iterable[int]]) -> LabelClasses:
    """The classes of maps that hold these ``numbers``: as many as ``classes.txt`` in ``root`` names, or as the highest.

    Raises :class:`DataError` for a file without names, and for numbers that look like levels of grey.
    """
    held = sorted({number for each in numbers for number in each})
    given = _named(root)
    if not given and held in ([0, VOID], [VOID]):
        return LabelClasses(BINARY, True)
    void = VOID in held and len(given) <= VOID
    names = given
    if not names:
        highest = max((number for number in held if number != VOID), default=0)
        if highest > MOST_NUMBER:
            raise DataError(
                f"label maps in '{root}' hold numbers up to {highest}, which look like levels of grey: number classes "
                f"from 0, or name them all in '{root / NAMES}', a line each"
            )
        names = tuple(f"class {k}" for k in range(highest + 1))
    return LabelClasses((*names, UNLABELLED), True) if void else LabelClasses(tuple(names), False)


def _named(root: Path) -> Sequence[str]:
    """The names in ``classes.txt``; nothing where there is no such file."""
    file = root / NAMES
    if not file.is_file():
        return ()
    lines = [line.strip() for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines or not all(lines) or len(set(lines)) < len(lines) or len(lines) > VOID + 1:
        raise DataError(f"'{file}' must name the classes, from 1 to {VOID + 1}, a line each, no two alike")
    return tuple(lines)
