"""Bringing pictures of mixed shapes to a size without distorting them.

A :class:`Fit` states what is kept of a picture, and how it is shown in training:

    square           the largest centred part with the proportions of the size (a square, where one number is
                     given), at that size: the default
    crop[:ROOM]      the whole picture, ROOM times as large as would just cover the size (1.125); a window of
                     that size is chosen anew in every epoch
    patch[:LONGEST]  the picture at its own resolution, unless a side is longer than LONGEST pixels (2048); a window
                     of the size is chosen anew in every epoch. What a restorer learns is the grain of photographs:
                     a photograph shrunk to the size of a training has none left, nor has one that is enlarged to it
    bucket[:STEP]    the nearest of a few shapes of about size x size pixels, whose sides are multiples of
                     STEP; a batch comes from one of them

Nothing is ever stretched: what does not fit is cut off evenly on both sides, and the rest is resized: Lanczos
with antialiasing when it shrinks, bicubic when it grows, nearest neighbour for label maps, whose values
must not be mixed. Held-out pictures are centred parts at the size whatever the fit, so that figures can be compared; of
``patch`` they are the windows in the middle, at the resolution that was learnt.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from zeuxis.data.ragged import Array, Middles, Ragged, Shelves, View, Windows
from zeuxis.errors import UnknownName, UsageError
from zeuxis.spec import Size, height_width

ROOM, MOST_ROOM = 9 / 8, 4.0
CUT = 0.02  # share of a picture that is cut off and nothing said of it
SKEW = 0.02  # the most by which the proportions of a pair may differ
LARGER = 1.75  # times as wide as its source: a picture of a pair for networks that enlarge
LONGEST = 3  # crop: of a picture three times more elongated than the size the middle is kept
LONGEST_SIDE, MOST_SIDE_KEPT = 2048, 16384  # patch: pixels
MOST_ELONGATED = 2  # bucket: no shape is more than 2:1
WidthHeight = tuple[int, int]


class Fit(ABC):
    """What is kept of pictures, and how they are shown. ``str`` gives the spelling."""

    @abstractmethod
    def kept(self, width: int, height: int, size: Size) -> WidthHeight:
        """Width and height at which a ``width x height`` picture is kept, where ``size`` was asked for."""

    def whole(self, width: int, height: int) -> WidthHeight:
        """Width and height at which such a picture is kept, where no size was asked for."""
        return width, height

    @property
    def shrunk(self) -> int:
        """How many times smaller than their pictures sources are kept."""
        return 1

    def why_no_pair(self, picture: WidthHeight, other: WidthHeight, role: str, size: Size | None) -> str | None:
        """Why a picture and its ``role`` (source, mask) of such sides are no pair; None where they are one."""
        if abs(picture[0] * other[1] / (picture[1] * other[0]) - 1) <= SKEW:
            return None
        sides = "{}x{}, but its {} is {}x{}".format(*picture, role, *other)
        return f"{sides}: a pair must have the same proportions"

    def enlarges(self, width: int, height: int, size: Size) -> bool:
        """Whether such a picture loses by being enlarged what it is looked at for: its own grain."""
        return False

    def cut(self, pictures: list[Image.Image], size: Size | None) -> list[Image.Image]:
        """What of a decoded picture, and of its source, is brought to the size."""
        return pictures

    def view(self, pictures: Ragged, size: Size, *, beside: bool = False) -> View | None:
        """How kept pictures of several sizes, or what lies ``beside`` them, are shown; None where all have one."""
        return None

    @property
    def mixed(self) -> bool:
        """Whether pictures are kept at several sizes."""
        return True

    @property
    def held_out(self) -> Fit:
        """How pictures are shown that are not trained on."""
        return SQUARE


@dataclass(frozen=True)
class Square(Fit):
    """The largest centred part with the proportions of the size."""

    def kept(self, width: int, height: int, size: Size) -> WidthHeight:
        tall, wide = height_width(size)
        return wide, tall

    @property
    def mixed(self) -> bool:
        return False

    def __str__(self) -> str:
        return "square"


@dataclass(frozen=True)
class Crop(Fit):
    """A window chosen anew each epoch, from pictures with some room around it."""

    room: float = ROOM

    def __post_init__(self) -> None:
        if not 1 <= self.room <= MOST_ROOM:
            raise UsageError(f"--fit crop:{self.room:g}: the room is 1 (none) to {MOST_ROOM:g} times the size")

    def kept(self, width: int, height: int, size: Size) -> WidthHeight:
        tall, wide = height_width(size)
        # The side of the picture that has less to spare, and the other one: how long each is, and must be at least.
        across = width * tall <= height * wide
        (length, least), (other, other_least) = (
            ((width, wide), (height, tall)) if across else ((height, tall), (width, wide))
        )
        side = max(least, min(round(self.room * least), length))  # nothing is enlarged to make room
        rest = max(other_least, min(round(side * other / length), LONGEST * side * other_least // least))
        return (side, rest) if across else (rest, side)

    def view(self, pictures: Ragged, size: Size, *, beside: bool = False) -> View:
        return Windows(pictures, height_width(size))

    def __str__(self) -> str:
        return f"crop:{self.room:g}"


@dataclass(frozen=True)
class Patch(Fit):
    """A window chosen anew each epoch, from pictures at their own resolution; with ``middle`` the one in the middle."""

    longest: int = LONGEST_SIDE
    middle: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.longest <= MOST_SIDE_KEPT:
            raise UsageError(f"--fit patch:{self.longest}: the longest side kept is 1 to {MOST_SIDE_KEPT} pixels")

    def kept(self, width: int, height: int, size: Size) -> WidthHeight:
        tall, wide = height_width(size)
        factor = max(min(1.0, self.longest / max(width, height)), wide / width, tall / height)
        # A line of pixels, as wide as a window, would take any amount of memory: of such the middle is kept.
        across, down = (min(round(factor * side), MOST_SIDE_KEPT) for side in (width, height))
        return max(wide, across), max(tall, down)

    def enlarges(self, width: int, height: int, size: Size) -> bool:
        tall, wide = height_width(size)
        return width < wide or height < tall

    def view(self, pictures: Ragged, size: Size, *, beside: bool = False) -> View:
        return (Middles if self.middle else Windows)(pictures, height_width(size))

    @property
    def held_out(self) -> Fit:
        return replace(self, middle=True)

    def __str__(self) -> str:
        return f"patch:{self.longest}"


@dataclass(frozen=True)
class Buckets(Fit):
    """The nearest of a few shapes. Without a ``step``: about an eighth of the size, a multiple of 8."""

    step: int | None = None

    def __post_init__(self) -> None:
        if self.step is not None and self.step < 1:
            raise UsageError(f"--fit bucket:{self.step}: the sides are multiples of 1 or more")

    def shapes(self, size: Size) -> tuple[WidthHeight, ...]:
        """The square, and per longer side the widest shape of no more pixels, lying and standing, up to 2:1."""
        if not isinstance(size, int):
            raise UsageError(
                f"--fit {self}: it chooses the shapes itself: give --size as one number, or another fit than bucket"
            )
        step = self.step or next((s for s in range(size // 64 * 8, 8, -8) if size % s == 0), 8)
        n = size // step
        if size % step or n < 3:
            smaller = next(s for s in range(max(1, size // 4), 0, -1) if size % s == 0)
            raise UsageError(
                f"--fit bucket:{step}: size {size} is not a multiple of {step}, 3 times or more, as shapes to choose "
                f"from want it: take --size {step * max(3, round(size / step))} or --fit bucket:{smaller}"
            )
        found = [(size, size)]
        for longer in range(n + 1, 2 * n + 1):
            shorter = n * n // longer
            if longer > MOST_ELONGATED * shorter:
                break
            found += [(longer * step, shorter * step), (shorter * step, longer * step)]
        return tuple(found)

    def kept(self, width: int, height: int, size: Size) -> WidthHeight:
        wanted = math.log(width / height)
        return min(self.shapes(size), key=lambda shape: abs(math.log(shape[0] / shape[1]) - wanted))

    def view(self, pictures: Ragged, size: Size, *, beside: bool = False) -> View:
        return Shelves(pictures, height_width(size))

    def __str__(self) -> str:
        return "bucket" if self.step is None else f"bucket:{self.step}"


SQUARE = Square()
FITS: Mapping[str, Callable[[str], Fit]] = {
    "square": lambda value: Square(),
    "crop": lambda value: Crop(float(value)) if value else Crop(),
    "patch": lambda value: Patch(int(value)) if value else Patch(),
    "bucket": lambda value: Buckets(int(value)) if value else Buckets(),
}


def parse_fit(text: str) -> Fit:
    """The fit that ``text`` spells.

    Raises:
        UnknownName: a name that is none.
        UsageError: a value that makes no sense.
    """
    name, _, value = text.strip().partition(":")
    if name not in FITS:
        raise UnknownName("fit", name, FITS)
    if name == "square" and value:
        raise UsageError(f"--fit {text}: write square, crop:ROOM, patch:LONGEST or bucket:STEP")
    try:
        return FITS[name](value)
    except ValueError:
        raise UsageError(f"--fit {text}: '{value}' is no number: write crop:1.25, patch:2048 or bucket:16") from None


def brought(sides: Sequence[WidthHeight], size: Size, keeps_more: str) -> list[str]:
    """What becomes of pictures of ``sides`` that are brought to ``size`` by :class:`Square`: a part is cut off, or they
    are enlarged. A line, or none; ``keeps_more`` is what does."""
    tall, wide = height_width(size)
    shares = [min(w * tall, h * wide) / max(w * tall, h * wide) for w, h in sides]  # that is kept
    cut, small = sum(share < 1 - CUT for share in shares), sum(w < wide or h < tall for w, h in sides)
    told = [f"{cut:,} are cut to their middle, of which the least keeps {min(shares):.0%}"] if cut else []
    told += [f"{small:,} are smaller, and enlarged"] if small else []
    if not told:
        return []
    mend = f" (of networks that take other shapes, {keeps_more})" if cut else ""
    return [f"of {len(shares):,} pictures brought to {wide} x {tall} pixels {', '.join(told)}{mend}"]


def middle_box(size: WidthHeight, target: WidthHeight) -> tuple[int, int, int, int]:
    """The largest centred part of a picture of ``size`` with ``target``'s proportions: left, top, right, bottom."""
    (width, height), (w, h) = size, target
    if width * h >= height * w:
        wide, high = min(width, max(1, (height * w + h // 2) // h)), height
    else:
        wide, high = width, min(height, max(1, (width * h + w // 2) // w))
    left, top = (width - wide) // 2, (height - high) // 2
    return left, top, left + wide, top + high


def fit_picture(picture: Image.Image, target: WidthHeight | None, *, labels: bool = False) -> Image.Image:
    """The middle of ``picture`` at the size ``target``; unchanged where that is None."""
    if target is None or picture.size == target:
        return picture
    part = picture.crop(middle_box(picture.size, target))
    if labels:
        resample = Image.Resampling.NEAREST
    else:
        resample = Image.Resampling.LANCZOS if part.width > target[0] else Image.Resampling.BICUBIC
    return part.resize(target, resample)


def fit_images(images: Array, size: Size | None, *, background: int | None = None) -> Array:
    """uint8 ``(N, H, W)`` or ``(N, H, W, C)`` to their centred parts at ``size``, uint8 ``(N, C, height, width)``.

    ``background`` is the grey level around the subject, where the pictures have such a thing: where they would
    grow by at most a quarter (28 to 32) they are padded with it, so that their pixels stay as they are.
    """
    if images.ndim == 3:
        images = images[..., None]
    height, width = images.shape[1:3]
    if size is not None and (height, width) != (target := height_width(size)):
        tall, wide = target
        fits = height <= tall and width <= wide and max(target) <= max(height, width) * 5 // 4
        if background is not None and fits:
            top, left = (tall - height) // 2, (wide - width) // 2
            margins = ((0, 0), (top, tall - height - top), (left, wide - width - left), (0, 0))
            images = np.pad(images, margins, constant_values=background)
        else:
            images = np.stack([_resized(image, tall, wide) for image in images])
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _resized(image: Array, height: int, width: int) -> Array:
    """uint8 ``(H, W, C)`` with 1 or 3 channels to ``(height, width, C)``."""
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    return np.asarray(fit_picture(picture, (width, height))).reshape(height, width, image.shape[2])


def fit_labels(labels: Array, size: Size | None) -> Array:
    """Integer maps uint8 ``(N, H, W)`` to ``(N, height, width)``."""
    if size is None:
        return labels
    height, width = height_width(size)
    return np.stack([np.asarray(fit_picture(Image.fromarray(one), (width, height), labels=True)) for one in labels])
