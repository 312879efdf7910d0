"""Decoding many picture files into one array on disk, skipping those that cannot be used."""

from __future__ import annotations

import math
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image

from zeuxis.data.bit_depth import ALL, brightest, looks_black, read_bits
from zeuxis.data.fit import LARGER, SQUARE, Fit, brought, fit_picture
from zeuxis.data.label_maps import LabelClasses
from zeuxis.data.layouts import Example
from zeuxis.data.masks import KINDS, LOOKED_AT, are_numbers, read_mask
from zeuxis.data.picture import IN_FLIGHT, Header, PictureRefused, read_header, read_kept
from zeuxis.data.shards import Member
from zeuxis.data.source import Array, Skipped
from zeuxis.errors import DataError, UsageError
from zeuxis.spec import Shape, Size, height_width, spell_size

WORKERS = min(4, os.cpu_count() or 1)  # of them one alone decodes, where a picture is as large as any may be
AT_ONCE = 16  # examples decoded before they are written
S = TypeVar("S")
T = TypeVar("T")


class PictureDecoder:
    """Reads all headers when built; decodes in :meth:`write`. ``skipped`` grows in both.

    Args:
        root: the folder that the examples' paths are relative to.
        examples: the files.
        size: the size that is wanted; None keeps pictures as they are, which must then all have one size.
        members: where those lie that are in shards.
        fit: what is kept of pictures of other proportions.
        grey: whether they have one channel, where that is decided over more than these.
        bits: where white is in files of 16 bits a channel (`zeuxis.data.bit_depth`).
        labels: the classes whose numbers masks hold, where these are label maps.
    """

    def __init__(
        self,
        root: Path,
        examples: Sequence[Example],
        size: Size | None,
        members: Mapping[str, Member] | None = None,
        fit: Fit = SQUARE,
        grey: bool | None = None,
        bits: int = ALL,
        labels: LabelClasses | None = None,
    ) -> None:
        self.root, self.members, self.bits, self.labels = root, dict(members or {}), bits, labels
        self.tops: list[int | None] = []  # of each that was decoded the largest value, if it is of 16 bits
        self.size, self.fit = size, fit
        self.examples: list[Example] = []
        self.skipped: list[Skipped] = []
        self.failed = ""  # of a picture that could not be read now, and may be good
        headers: list[tuple[Header, Header]] = []
        for example, found in zip(examples, in_threads(self._headers, examples), strict=True):
            if isinstance(found, PictureRefused):
                self.skipped.append(Skipped(example.image, str(found), found.kind))
                self.failed = self.failed or (passing(root / example.image, found) if found.passing else "")
            else:
                self.examples.append(example)
                headers.append(found)
        self.grey = all(image.grey and source.grey for image, source in headers) if grey is None else grey
        self._whole_sides = [(image.width, image.height) for image, _ in headers]  # as they lie in the folder
        self._with_alpha = sum(image.alpha for image, _ in headers)
        alone = [e.source is None and e.mask is None and not e.beside for e in self.examples]
        self._held = [  # of the room that is shared, by every example
            image.room + (0 if one else other.room) for one, (image, other) in zip(alone, headers, strict=True)
        ]
        self.remarks: list[str] = []  # what is worth knowing of those that are written
        self.masked = any(example.mask is not None for example in self.examples)
        self.shapes = [self._shapes(image, other) for image, other in headers]  # of every example
        self.numbers = self.masked and labels is None and self._numbers()  # whether masks hold the numbers of classes
        factors = [image.width / other.width for one, (image, other) in zip(alone, headers, strict=True) if not one]
        if size is not None and not self.masked and self.fit.shrunk == 1 and factors and min(factors) >= LARGER:
            self.remarks.append(
                f"sources are {round(min(factors))} times smaller than their pictures, or more, and are brought to "
                f"their size: what is to enlarge pictures is given them as they are by --pair enlarge:"
                f"{round(min(factors))}"
            )
        if size is not None and (small := sum(fit.enlarges(one.width, one.height, size) for one, _ in headers)):
            self.remarks.append(
                f"of {len(headers):,} pictures {small:,} are smaller than a window of {spell_size(size)} and are "
                "enlarged to it, so that they have no grain of their own to learn from: give a smaller --size, or "
                "leave them out"
            )
        if size is None:
            for side in (0, 1):
                if (n := len({shapes[side] for shapes in self.shapes})) > 1:
                    raise UsageError(f"the pictures in '{root}' have {n} sizes: give the size that is wanted")

    @contextmanager
    def file(self, name: str) -> Iterator[Path | BinaryIO]:
        """What to read the picture ``name`` from."""
        if name in self.members:
            with self.members[name].open() as file:
                yield file
        else:
            yield self.root / name

    def _headers(self, example: Example) -> tuple[Header, Header]:
        """Of the image and of the source (the image again, where there is none)."""
        with self.file(example.image) as file:
            image = read_header(file)
        if example.beside:
            if image.width % 2:
                raise PictureRefused(f"{image.width} pixels wide: two pictures in one need an even width", "unpaired")
            half = replace(image, width=image.width // 2)
            return half, half
        other, role = (example.source, "source") if example.mask is None else (example.mask, "mask")
        if other is None:
            return image, image
        try:
            second = read_header(self.root / other)
        except PictureRefused as refused:
            raise PictureRefused(f"its {role} {other}: {refused}", refused.kind) from refused
        sides = (image.width, image.height), (second.width, second.height)
        if (why := self.fit.why_no_pair(*sides, role, self.size)) is not None:
            raise PictureRefused(why, "unpaired")
        if role == "source":
            return image, second
        if self.labels is not None and sides[0] != sides[1]:
            both = "{}x{}, its label map {} {}x{}".format(*sides[0], other, *sides[1])
            raise PictureRefused(f"{both}: a class for every pixel needs as many of both", "unpaired")
        if self.size is None and (image.width, image.height) != (second.width, second.height):
            raise PictureRefused(
                f"{image.width}x{image.height}, its mask {second.width}x{second.height}: give the size that is wanted",
                "unpaired",
            )
        return image, replace(second, grey=image.grey)  # a mask does not decide whether pictures are grey

    def _shapes(self, image: Header, other: Header) -> tuple[Shape, Shape]:
        """Of an example as it is kept: the picture, and its source or mask (the picture's again, without any)."""
        channels = 1 if self.grey else 3
        sides, shrunk = (image.width, image.height), self.fit.shrunk
        if self.size is None and shrunk == 1:
            kept, beside = self.fit.whole(*sides), (other.width, other.height)
        else:  # by the picture alone, so that both are cut in the same place
            kept = self.fit.whole(*sides) if self.size is None else self.fit.kept(*sides, self.size)
            beside = kept[0] // shrunk, kept[1] // shrunk
        if self.masked:
            beside = kept
        return Shape(channels, kept[1], kept[0]), Shape(1 if self.masked else channels, beside[1], beside[0])

    def write(self, folder: Path) -> list[int]:
        """Write ``images.npy`` (for pairs also ``source.npy``, ``mask.npy`` or ``layout.npy``) and return the rows that
        hold a picture.

        The other rows are black: the file's length is stated before the pictures are decoded.
        """
        paired = any(example.source is not None or example.beside for example in self.examples)
        mask = "mask.npy" if self.labels is None else "layout.npy"
        names = ["images.npy", *([mask] if self.masked else ["source.npy"] if paired else [])]
        self._check_space(folder, len(names))
        good: list[int] = []
        empty = full = grey = 0
        files = [(folder / name).open("wb") for name in names]
        try:
            for side, file in enumerate(files):
                _state(file, self._whole(side))
            for row, found in enumerate(in_threads(self.decode, range(len(self.examples)))):
                if isinstance(found, PictureRefused):
                    if found.passing:
                        raise DataError(passing(self.root / self.examples[row].image, found))
                    self.skipped.append(Skipped(self.examples[row].image, str(found), found.kind))
                    found = tuple(np.zeros(shape, np.uint8) for shape in self.shapes[row])
                else:
                    good.append(row)
                    grey += _is_grey(found[0])
                    empty += self.masked and not found[1].any()
                    full += self.masked and bool(found[1].all())
                for file, pixels in zip(files, found, strict=False):
                    file.write(pixels.tobytes())
        finally:
            for file in files:
                file.close()
        if good and self.labels is None and len(good) in (empty, full):
            self.remarks.append(f"every mask is {'empty' if empty else 'full'}: look whether they are the right ones")
        if self._double(names):
            self.remarks.append(
                "every picture is twice as wide as high: of two side by side in one file --pair halves makes pairs"
            )
        if good and grey == len(good):
            self.remarks.append("every picture is grey, though their files hold colours: nothing is learnt of these")
        self.remarks += [*self.too_dark(), *self._brought(), *self._laid()]
        if self.fit.mixed:
            both = ("sizes.npy", "source-sizes.npy")[: 1 + (self.fit.shrunk > 1)]
            for side, name in enumerate(both):
                np.save(folder / name, np.array([shapes[side] for shapes in self.shapes], np.int64).reshape(-1, 3))
        return good

    def _double(self, names: Sequence[str]) -> bool:
        """Whether pictures that have nothing beside them may be two each, as pix2pix's sets are published."""
        sides = self._whole_sides
        return len(names) == 1 and len(sides) > 1 and all(width == 2 * height for width, height in sides)

    def _laid(self) -> list[str]:
        """What becomes of transparency."""
        n, every = self._with_alpha, len(self._whole_sides)
        return [f"{n:,} of {every:,} pictures have an alpha channel: what is transparent is white now"] if n else []

    def _brought(self) -> list[str]:
        """What becomes of pictures that are not of the size that is wanted: a part is cut off, or they are enlarged."""
        if self.size is None or self.fit != SQUARE or not self._whole_sides:
            return []
        return brought(self._whole_sides, self.size, "--size WIDTHxHEIGHT and --fit bucket keep more")

    def _whole(self, side: int) -> tuple[int, ...]:
        """The shape of the array that holds all pictures (side 0), or all that is beside them (1)."""
        if self.fit.mixed:
            return (self._bytes(side),)
        nothing = Shape(1 if self.grey else 3, *height_width(self.size or 0))
        shape = self.shapes[0][side] if self.shapes else nothing
        return (len(self.examples), *(shape[1:] if side == 1 and self.labels is not None else shape))

    def _bytes(self, side: int) -> int:
        return sum(math.prod(shapes[side]) for shapes in self.shapes)

    def decode(self, row: int) -> tuple[Array, ...]:
        """An example's image and, if there is one, source or mask: uint8 ``(C, H, W)``.

        Raises :class:`PictureRefused`.
        """
        try:
            with IN_FLIGHT.of(self._held[row]):
                return self._decoded(row)
        except (PictureRefused, MemoryError) as error:
            if isinstance(error, PictureRefused) and error.kind != "memory":
                raise
        with IN_FLIGHT.of(IN_FLIGHT.pixels):  # once more, alone
            return self._decoded(row)

    def _decoded(self, row: int) -> tuple[Array, ...]:
        example = self.examples[row]
        with self.file(example.image) as file:
            pictures = [self._read(file)]
        if example.beside:
            width, height = pictures[0].size
            boxes = ((width // 2, 0, width, height), (0, 0, width // 2, height))
            pictures = [pictures[0].crop(box) for box in boxes]
        elif example.source is not None:
            pictures.append(self._read(self.root / example.source))
        parts = zip(self.fit.cut(pictures, self.size), self.shapes[row], strict=False)
        made = [self._pixels(picture, shape) for picture, shape in parts]
        if example.mask is not None:
            file = self.root / example.mask
            held = read_mask(file).read(self.numbers) if self.labels is None else self.labels.read(file)
            made.append(self._pixels(Image.fromarray(held), self.shapes[row][1], labels=True))
        return tuple(made)

    def _read(self, file: Path | BinaryIO) -> Image.Image:
        kept = read_kept(file)
        self.tops.append(brightest(kept, file) if self.bits == ALL else None)
        return read_bits(kept, file, grey=self.grey, bits=self.bits)

    def too_dark(self) -> list[str]:
        """A line where what was decoded looks black, because its files of 16 bits hold fewer."""
        line = looks_black(self.tops, self.root)
        return [] if line is None else [line]

    def _numbers(self) -> bool:
        """Whether the masks, of which some are looked at, hold the numbers of classes."""
        rows = [row for row, example in enumerate(self.examples) if example.mask is not None]

        def counted(row: int) -> tuple[int, int, int]:
            with IN_FLIGHT.of(self._held[row]):
                mask = read_mask(self.root / str(self.examples[row].mask))
                return mask.light, mask.dim, mask.kinds

        some = rows[:: -(-len(rows) // LOOKED_AT)]
        found = [one for one in in_threads(counted, some) if not isinstance(one, PictureRefused)]
        if 2 * sum(kinds >= KINDS for *_, kinds in found) > len(found):
            self.remarks.append(
                f"masks hold up to {max(kinds for *_, kinds in found)} values that fill a hundredth or more, and are "
                "read as something and nothing alone: what they tell apart is kept by --pair layout, where they "
                "number classes, or where they are sources in colour, in a folder A/ beside B/"
            )
        return are_numbers((light, dim) for light, dim, _ in found)

    def _pixels(self, picture: Image.Image, shape: Shape, *, labels: bool = False) -> Array:
        channels, height, width = shape
        pixels = np.asarray(fit_picture(picture, None if self.size is None else (width, height), labels=labels))
        if pixels.shape[:2] != (height, width):
            raise PictureRefused(
                f"decoded to {pixels.shape[1]}x{pixels.shape[0]}, where its header promises {width}x{height}"
            )
        return np.ascontiguousarray(pixels.reshape(height, width, channels).transpose(2, 0, 1))

    def _check_space(self, folder: Path, sides: int) -> None:
        needed = sum(map(self._bytes, range(sides)))
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise DataError(
                f"decoding '{self.root}' needs {needed / 1e6:,.0f} MB and '{folder.parent}' has {free / 1e6:,.0f} MB "
                "free: set ZEUXIS_CACHE to a folder with more, or ask for a smaller size"
            )


def in_threads(work: Callable[[S], T], items: Sequence[S]) -> Iterator[T | PictureRefused]:
    """``work`` of every item, in order; a refusal is an answer. Few are in memory at a time."""

    def answer(item: S) -> T | PictureRefused:
        try:
            return work(item)
        except PictureRefused as refused:
            return refused
        except MemoryError:
            return PictureRefused("there was not enough memory to decode it", "memory")

    waiting: deque[Future[T | PictureRefused]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            for item in items:
                if len(waiting) == AT_ONCE:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(answer, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:  # none is begun any more where the work was broken off
                one.cancel()


def _is_grey(pixels: Array) -> bool:
    """Whether the channels of a picture ``(C, H, W)`` of three are alike."""
    return len(pixels) == 3 and bool((pixels[1:, :1] == pixels[:1, :1]).all() and (pixels[1:] == pixels[:1]).all())


def passing(path: Path, refused: PictureRefused) -> str:
    """What to say of a picture that may be good: nothing is kept of such a reading."""
    mend = "close other programs, or make it smaller" if refused.kind == "memory" else "mend that, or remove it"
    return f"'{path}': {refused}: {mend}, and start again"


def _state(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """The head of an ``.npy`` file of bytes; the pixels follow by plain writes, which fail cleanly on a full disk."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
