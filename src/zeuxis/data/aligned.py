"""Pairs of a small picture and the same several times as large, as they are: windows of both that show one place.

What people have to train networks that enlarge: a folder of pictures (``hr/``) and one of the same made smaller
(``lr/``), by 2, 3 or 4. Nothing is resampled. Of sides that the factor does not divide the last rows and columns are
left out, as papers have it: small pictures are made of what remains, or end in a part of a pixel.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image

from zeuxis.data.arrange import Arranged, arrange
from zeuxis.data.fit import Buckets, Fit, WidthHeight
from zeuxis.data.layouts import OTHER_SCALE
from zeuxis.data.picture import PictureRefused, read_header
from zeuxis.data.ragged import Ragged, View, Windows
from zeuxis.errors import Unsupported, UsageError
from zeuxis.spec import Size, height_width, spell_size

LOOKED_AT = 64  # pairs whose headers tell a folder's factor


@dataclass(frozen=True)
class Aligned(Fit):
    """Windows of pictures, anew each epoch, and of their sources, ``factor`` times smaller; without ``windows`` the
    middle."""

    factor: int
    windows: bool

    @property
    def shrunk(self) -> int:
        return self.factor

    @property
    def mixed(self) -> bool:
        return self.windows

    def __str__(self) -> str:
        return f"enlarge:{self.factor}{'' if self.windows else ', middle'}"

    def kept(self, width: int, height: int, size: Size) -> WidthHeight:
        tall, wide = height_width(size)
        return self.whole(width, height) if self.windows else (wide, tall)

    def whole(self, width: int, height: int) -> WidthHeight:
        return width // self.factor * self.factor, height // self.factor * self.factor

    def why_no_pair(self, picture: WidthHeight, other: WidthHeight, role: str, size: Size | None) -> str | None:
        found = factor_between(picture, other)
        sides = "{}x{}, its {} {}x{}".format(*picture, role, *other)
        if found is None:
            times = " and ".join(f"{a / b:.4g}" for a, b in zip(picture, other, strict=True))
            return f"{sides}: {times} times as wide and high, and {self.factor} times both is wanted"
        if found != self.factor:
            return f"{sides}: {found} times as large, and {self.factor} times is wanted (--pair enlarge:{found})"
        if size is not None and (picture[0] < height_width(size)[1] or picture[1] < height_width(size)[0]):
            mend = "leave it out, or train with a smaller --size"
            return f"{picture[0]}x{picture[1]} is less than a window of {spell_size(size)}: {mend}"
        return None

    def cut(self, pictures: list[Image.Image], size: Size | None) -> list[Image.Image]:
        image, source = pictures
        wide, tall = (side // self.factor for side in image.size)  # of the source, in whole pixels
        f, left, top = self.factor, 0, 0
        if size is not None and not self.windows:
            high, across = (side // self.factor for side in height_width(size))
            left, top, wide, tall = (wide - across) // 2, (tall - high) // 2, across, high
        box = (left, top, left + wide, top + tall)
        return [image.crop((f * left, f * top, f * (left + wide), f * (top + tall))), source.crop(box)]

    def view(self, pictures: Ragged, size: Size, *, beside: bool = False) -> View:
        height, width = height_width(size)
        if beside:
            return Windows(pictures, (height // self.factor, width // self.factor))
        return Windows(pictures, (height, width), step=self.factor)


def aligned(factor: int, size: Size | None, split: str, fit: Fit) -> Aligned:
    """How pairs are shown in ``split``; raises :class:`UsageError` for a size or a ``fit`` that there is none for."""
    if isinstance(fit, Buckets):
        raise UsageError(f"--pair enlarge:{factor} --fit {fit}: windows of one size are cut: leave --fit out")
    if size is not None and any(side % factor for side in height_width(size)):
        near = "x".join(str(max(1, round(side / factor)) * factor) for side in reversed(height_width(size)))
        near = near if not isinstance(size, int) else near.partition("x")[0]
        raise UsageError(
            f"--pair enlarge:{factor} --size {spell_size(size)}: windows of the small pictures are {factor} times "
            f"smaller, so {factor} must divide the size: --size {near}"
        )
    return Aligned(factor, split == "train" and size is not None)


def factor_between(picture: WidthHeight, source: WidthHeight) -> int | None:
    """By which whole number a picture is larger than its source, up to what a pixel of the source leaves over; None
    where there is none."""
    if 0 in source:
        return None
    factor = round(max(picture) / max(source))
    fits = factor >= 1 and all(b in (a // factor, -(-a // factor)) for a, b in zip(picture, source, strict=True))
    return factor if fits else None


def require_pairs(found: Arranged, factor: int) -> None:
    """Raises :class:`Unsupported` where a folder holds no pairs of pictures in files of their own."""
    for home, listing in found.parts:
        alone = [example for example in listing.examples if example.source is None]
        if not listing.examples and (other := [one.path for one in listing.skipped if OTHER_SCALE in one.reason]):
            raise Unsupported(
                f"'{found.root}' holds {found.said}, and of no source it is said that it is {factor} times smaller "
                f"({other[0]} is of another scale): give --pair enlarge with a scale that is there"
            )
        if alone or not (listing.examples or home.split != "train"):
            where = f" in {home.name}/" if home.name else ""
            raise Unsupported(
                f"'{found.root}' holds {found.said}, and --pair enlarge:{factor} wants{where} two folders of pictures "
                "with the same names: hr/ the large ones, lr/ the small ones"
            )


def enlarges_by(folder: str | Path, factor: int | None = None) -> int | None:
    """By how much the first pictures of a folder are larger than their sources, of several scales those of ``factor``;
    None where there are no pairs, or most are as large."""
    found = arrange(folder, factor)
    pairs = ((e.image, e.source) for _, listing in found.parts for e in listing.examples if e.source is not None)
    seen: Counter[int | None] = Counter()
    for names in islice(pairs, LOOKED_AT):
        try:
            headers = [read_header(found.root / name) for name in names]
        except PictureRefused:
            continue
        picture, source = ((one.width, one.height) for one in headers)
        seen[factor_between(picture, source)] += 1
    factor = seen.most_common(1)[0][0] if seen else None
    return None if factor in (None, 1) else factor
