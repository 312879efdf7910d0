"""A folder of anyone's pictures as a source: mixed sizes and formats, some of them damaged.

Pictures are decoded once, at the size that is asked for, into a memory-mapped array in the cache,
whose key follows from the bytes of the files (`zeuxis.data.contents`), not from their names and dates.
What cannot be read is skipped and listed (``source.skipped``, and ``skipped.jsonl`` beside the
array); above one in twenty the folder is refused, or above the share in ``$ZEUXIS_MOST_SKIPPED``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from zeuxis.data import prepared
from zeuxis.data.aligned import aligned, require_pairs
from zeuxis.data.arrange import Arranged, arrange
from zeuxis.data.array_files import SUFFIXES as ARRAYS
from zeuxis.data.bit_depth import ALL
from zeuxis.data.cache import cache_dir, new_file
from zeuxis.data.contents import Contents
from zeuxis.data.decode import PictureDecoder, in_threads
from zeuxis.data.fit import SQUARE, Fit
from zeuxis.data.label_maps import NAMES, LabelClasses, classes_of, read_numbers
from zeuxis.data.layouts import Listing
from zeuxis.data.picture import SUFFIXES, PictureRefused
from zeuxis.data.preparing import SPLITS, prepare
from zeuxis.data.source import ArraySource, Skipped, Source
from zeuxis.data.split import carve
from zeuxis.data.tables import open_tables
from zeuxis.data.tables_name import TablesName
from zeuxis.data.unpaired import UnpairedSource
from zeuxis.errors import DataError, UnknownName, Unsupported, UsageError
from zeuxis.escaping import word
from zeuxis.spec import Size, spell_size

TRIAL = 64  # pixels a side, where only headers are looked at


def open_folder(
    path: str | Path,
    size: Size | None = None,
    split: str = "train",
    fit: Fit = SQUARE,
    *,
    halves: bool = False,
    factor: int | None = None,
    bits: int = ALL,
    labels: bool = False,
) -> Source:
    """A folder's pictures brought to ``size`` by ``fit``, or as they are where all have one size.

    The layouts are those of `zeuxis.data.layouts`. ``train/``, ``val/`` and ``test/`` in the folder, or what else
    people call them, are its splits (`zeuxis.data.splits`); those that are missing are set apart from the training
    pictures, a tenth each, by a stable rule. ``remarks`` of the source say how the folder was read. With ``halves``
    every file holds two pictures side by side: the left one is the source, the right one the image. With a ``factor``
    sources are as many times smaller than their pictures, and windows are cut of both (`zeuxis.data.aligned`).
    ``bits`` say where white is in files of 16 bits a channel (`zeuxis.data.bit_depth`). With ``labels`` masks are label
    maps: layouts of classes (`zeuxis.data.label_maps`).

    Raises:
        DataError: no folder, no pictures, or more than one in twenty that cannot be used.
        UsageError: pictures of several sizes, or a fit that needs one, and no ``size``.
        UnknownName: no such split.
        Unsupported: no pairs, where there is a factor; no label maps, where there are to be some.
    """
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    found = arrange(path, factor)
    if found.tabled:
        if halves or labels or factor is not None:
            raise Unsupported(f"'{found.root}' holds tables of Parquet, which are read as single pictures: no --pair")
        return open_tables(TablesName(str(found.root)), size, split, fit, bits)
    if not any(listing.examples or listing.skipped for _, listing in found.parts):
        raise DataError(_nothing(found))
    if fit.mixed and size is None:
        raise UsageError(f"--fit {fit}: to which size? Give --size (in a recipe: size)")
    if halves:
        _halve(found)
    if factor is not None:
        require_pairs(found, factor)
        fit = aligned(factor, size, split, fit)
    if labels:
        _require_labels(found, fit)
    folder = _Folder(found, size, fit, bits, labels)
    source: Source
    if found.unpaired:
        target, origin = (folder.open(split, letter) for letter in "BA")
        source = UnpairedSource(found.root.name, target, origin)
    else:
        source = folder.open(split)
        source.sides = ("A", "B")
    source.remarks = (found.line(folder.failed), *found.remarks, *folder.told(), *source.remarks)
    source.ignored = found.ignored
    return source


def _halve(found: Arranged) -> None:
    """Take every picture for two; UsageError where they have partners already."""
    for _, listing in found.parts:
        if "source" in listing.gives or "mask" in listing.gives or found.unpaired:
            raise UsageError(f"'{found.root}' holds {found.said}, and no halves of pictures: leave --pair halves out")
        listing.examples = [replace(example, beside=True) for example in listing.examples]


def _require_labels(found: Arranged, fit: Fit) -> None:
    """Raise where not every picture has a label map, or where not the middle of each is to be shown."""
    if found.unpaired or not all(listing.gives >= {"mask"} for _, listing in found.parts if listing.examples):
        raise Unsupported(
            f"'{found.root}' holds {found.said}, and no class for every pixel: give a folder with images/ and labels/, "
            "whose files have the same names, or a world such as scenes"
        )
    if fit != SQUARE:
        raise UsageError(f"--fit {fit}: of pictures with label maps the middle is shown: leave --fit out")
    found.ignored = tuple(one for one in found.ignored if one.path != NAMES)


def _nothing(found: Arranged) -> str:
    """What to say of a folder without any picture."""
    archive = next((one for one in found.ignored if one.kind in ("archive", "table")), None)
    hint = f"; '{archive.path}' is {archive.reason}" if archive else ""
    if (arrays := next((one.path for one in found.ignored if one.path.lower().endswith(ARRAYS)), None)) is not None:
        hint = f"; '{arrays}' holds arrays: a file of them is data by itself, --data {word(str(found.root / arrays))}"
    return f"no pictures in '{found.root}': it should hold files ending in {', '.join(sorted(SUFFIXES))}{hint}"


class _Folder:
    """A folder that was looked at, about to be opened at a size."""

    def __init__(self, found: Arranged, size: Size | None, fit: Fit, bits: int, labels: bool) -> None:
        self.found, self.size, self.fit, self.bits = found, size, fit, bits
        self.failed: list[Skipped] = []  # what decoding found of that which was opened
        self.contents = [Contents(found.root, listing.files(found.root)) for _, listing in found.parts]
        self.labels = self._classes() if labels else None

    def open(self, split: str, letter: str = "") -> ArraySource:
        """One split, of the collection ``letter`` where there are two."""
        found, given = self.found, self.found.given(letter)
        home, listing = given[split if split in given else "train"]
        apart = tuple(s for s in ("test", "val") if s not in given) if home.split == "train" else ()
        contents = self.contents[[h for h, _ in found.parts].index(home)]
        grey = self._grey() if len(found.parts) > 1 else None
        key = _key(contents, listing, apart, self.size, self.fit, grey, self.bits, self.labels)
        kept = cache_dir() / "prepared" / f"folder-{spell_size(self.size)}-{key}"

        def divided(names: Sequence[str]) -> Mapping[str, Sequence[int]]:
            contents.require_unchanged()  # all is decoded: from the bytes that the key was made of
            return carve("folder", [home.without_split(name) for name in names], apart)

        def decoded() -> None:
            examples, members = listing.examples, listing.members
            decoder = PictureDecoder(found.root, examples, self.size, members, self.fit, grey, self.bits, self.labels)
            prepare(decoder, listing, kept, divided)

        def opened(part: str) -> ArraySource:
            held = part if part in apart else "train"
            return prepared.open_prepared(kept, decoded, found.root.name + letter, held, self.fit, self.size)

        mend = f"give ten or more, or put some into a folder '{split}' within it"
        source = prepared.held_out_or_learnt(opened, split, mend, str(found.root))
        self.failed += source.skipped[len(listing.skipped) :]
        return source

    def told(self) -> list[str]:
        """Which classes label maps are read as."""
        if self.labels is None:
            return []
        return [f"label maps of {len(self.labels.names)} classes: {', '.join(self.labels.names)} ({NAMES} names them)"]

    def _about(self, what: str) -> Path:
        """Where is kept ``what`` is known of all files together."""
        digest = hashlib.sha256("".join(contents.digest() for contents in self.contents).encode())
        return cache_dir() / "contents" / f"{digest.hexdigest()[:32]}-{what}"

    def _classes(self) -> LabelClasses:
        """The classes of all label maps: those of every split count alike."""
        kept, root = self._about("numbers"), self.found.root
        if kept.is_file() and (known := kept.read_text(encoding="ascii", errors="replace").split()):
            return classes_of(root, [map(int, known)])
        maps = [root / example.mask for _, part in self.found.parts for example in part.examples if example.mask]

        def numbers_in(file: Path) -> list[int]:
            return [int(number) for number in np.unique(read_numbers(file))]

        read = [one for one in in_threads(numbers_in, maps) if not isinstance(one, PictureRefused)]
        found = classes_of(root, read)
        if len(read) == len(maps):
            with new_file(kept) as made:
                made.write_text(" ".join(map(str, sorted({k for one in read for k in one}))), encoding="ascii")
        return found

    def _grey(self) -> bool:
        """Whether all pictures that are put together are grey: every split, and both collections of two."""
        kept = self._about("channels")
        if kept.is_file() and (known := kept.read_text(encoding="ascii", errors="replace")) in ("grey", "colour"):
            return known == "grey"
        root, parts = self.found.root, [listing for _, listing in self.found.parts]
        decoders = [PictureDecoder(root, part.examples, TRIAL, part.members) for part in parts]
        grey = all(decoder.grey for decoder in decoders)
        if not any(decoder.failed for decoder in decoders):
            with new_file(kept) as made:
                made.write_text("grey" if grey else "colour", encoding="ascii")
        return grey


def _key(
    contents: Contents,
    listing: Listing,
    apart: Sequence[str],
    size: Size | None,
    fit: Fit,
    grey: bool | None,
    bits: int,
    labels: LabelClasses | None,
) -> str:
    """A hash of all that decides the prepared arrays: bytes, names, labels, captions, and the target."""
    spelt = [] if fit == SQUARE else [str(fit)]
    spelt += [] if bits == ALL else [f"bits {bits}"]
    spelt += [] if labels is None else [f"labels {labels}"]
    digest = hashlib.sha256(repr((prepared.FORMAT, size, apart, listing.class_names, grey, *spelt)).encode())
    digest.update(contents.digest().encode())
    for example in listing.examples:
        digest.update(ascii(example).encode())
    digest.update(ascii(listing.skipped).encode())
    return digest.hexdigest()[:24]
