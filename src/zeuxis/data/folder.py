"""A folder of anyone's pictures as a source: mixed sizes and formats, some of them damaged.

Pictures are decoded once, at the size that is asked for, into a memory-mapped array in the cache,
whose key follows from the bytes of the files (`zeuxis.data.contents`), not from their names and dates.
What cannot be read is skipped and listed (``source.skipped``, and ``skipped.jsonl`` beside the
array); above one in twenty the folder is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from zeuxis.data import prepared
from zeuxis.data.cache import cache_dir, new_file, new_folder
from zeuxis.data.contents import Contents
from zeuxis.data.decode import PictureDecoder
from zeuxis.data.fit import SQUARE, Fit
from zeuxis.data.layouts import Listing, list_folder
from zeuxis.data.picture import SUFFIXES
from zeuxis.data.source import ArraySource, Skipped, Source, Values
from zeuxis.data.split import carve
from zeuxis.data.unpaired import UnpairedSource
from zeuxis.errors import DataError, UnknownName, UsageError
from zeuxis.spec import Size, spell_size

SPLITS = ("train", "val", "test")
MOST_SKIPPED = 0.05


def open_folder(path: str | Path, size: Size | None = None, split: str = "train", fit: Fit = SQUARE) -> Source:
    """A folder's pictures brought to ``size`` by ``fit``, or as they are where all have one size.

    The layouts are those of `zeuxis.data.layouts`. ``train/``, ``val/`` and ``test/`` in the folder are
    its splits (``trainA/``, ``trainB/``, ... for unpaired collections); those that are missing are set
    apart from the training pictures, a tenth each, by a stable rule.

    Raises:
        DataError: no folder, no pictures, or more than one in twenty that cannot be used.
        UsageError: pictures of several sizes, or a fit that needs one, and no ``size``.
        UnknownName: no such split.
    """
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        raise DataError(f"'{root}' is no folder: give a folder of pictures")
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    if fit.mixed and size is None:
        raise UsageError(f"--fit {fit}: to which size? Give --size (in a recipe: size)")
    if _is_unpaired(root):
        target, origin = (_open_part(root, size, split, fit, letter) for letter in "BA")
        return UnpairedSource(root.name, target, origin)
    return _open_part(root, size, split, fit)


def _open_part(root: Path, size: Size | None, split: str, fit: Fit, letter: str = "") -> ArraySource:
    given = _given(root, letter)
    home, apart, classes = _home(root, given, split)
    listing = list_folder(home, classes)
    contents = Contents(home, listing.files(home))
    kept = cache_dir() / "prepared" / f"folder-{spell_size(size)}-{_key(contents, listing, apart, size, fit)}"
    if not kept.is_dir():
        decoder = PictureDecoder(home, listing.examples, size, listing.members, fit)

        def divided(names: Sequence[str]) -> Mapping[str, Sequence[int]]:
            contents.require_unchanged()  # all is decoded: from the bytes that the key was made of
            return carve("folder", names, apart)

        prepare(decoder, listing, kept, divided)
    source = prepared.read_prepared(kept, root.name + letter, split if split in apart else "train", fit, size)
    if not len(source):
        raise DataError(f"'{home}' has too few pictures to set any apart for '{split}': use the split 'train'")
    return source


def _home(root: Path, given: Mapping[str, Path], split: str) -> tuple[Path, tuple[str, ...], tuple[str, ...]]:
    """Where a split's pictures lie, which splits must be set apart there, and the classes that count."""
    if "train" not in given:
        return root, ("test", "val"), ()
    if split in given and split != "train":
        return given[split], (), list_folder(given["train"]).class_names
    return given["train"], tuple(s for s in ("test", "val") if s not in given), ()


def homes(root: Path) -> list[tuple[Path, tuple[str, ...]]]:
    """Every folder under ``root`` that is listed on its own, with the classes that count there."""
    found: list[tuple[Path, tuple[str, ...]]] = []
    for letter in ("A", "B") if _is_unpaired(root) else ("",):
        given = _given(root, letter)
        if "train" not in given:
            return [(root, ())]
        classes = list_folder(given["train"]).class_names
        found += [(home, () if split == "train" else classes) for split, home in given.items()]
    return found


def _is_unpaired(root: Path) -> bool:
    return (root / "trainA").is_dir() and (root / "trainB").is_dir()


def _given(root: Path, letter: str) -> dict[str, Path]:
    """The splits that have a folder of their own."""
    return {s: root / f"{s}{letter}" for s in SPLITS if (root / f"{s}{letter}").is_dir()}


def _key(contents: Contents, listing: Listing, apart: Sequence[str], size: Size | None, fit: Fit) -> str:
    """A hash of all that decides the prepared arrays: bytes, names, labels, captions, and the target."""
    spelt = (str(fit),) if fit.mixed else ()
    digest = hashlib.sha256(repr((prepared.FORMAT, size, apart, listing.class_names, *spelt)).encode())
    digest.update(contents.digest().encode())
    for example in listing.examples:
        digest.update(ascii(example).encode())
    digest.update(ascii(listing.skipped).encode())
    return digest.hexdigest()[:24]


def prepare(
    decoder: PictureDecoder,
    listing: Listing,
    kept: Path,
    split: Callable[[Sequence[str]], Mapping[str, Sequence[int]]],
    origin: str = "",
) -> None:
    """Decode what is listed into the folder ``kept``; ``split`` divides the names of the pictures that were good."""
    home = decoder.root
    total = len(listing.examples) + len(listing.skipped)
    if not total:
        raise DataError(f"no pictures in '{home}': it should hold files ending in {', '.join(sorted(SUFFIXES))}")
    _refuse_too_many(home, [*listing.skipped, *decoder.skipped], total, kept)
    with new_folder(kept) as made:
        good = decoder.write(made)
        skipped = [*listing.skipped, *decoder.skipped]
        _refuse_too_many(home, skipped, total, kept)
        examples = decoder.examples
        fields: dict[str, Values] = {}
        if listing.class_names:
            fields["label"] = np.array([example.label for example in examples], np.int64)
        if any(example.caption is not None for example in examples):
            fields["caption"] = [example.caption or "" for example in examples]
        splits = split([examples[row].image for row in good])
        rows = {name: [good[position] for position in positions] for name, positions in splits.items()}
        facts = {"class_names": listing.class_names}
        prepared.write_prepared(made, fields, prepared.Known(facts, splits=rows, skipped=skipped, origin=origin))


def _refuse_too_many(home: Path, skipped: Sequence[Skipped], total: int, kept: Path) -> None:
    if len(skipped) <= MOST_SKIPPED * total:
        return
    report = kept.with_suffix(".skipped.jsonl")
    with new_file(report) as made:
        prepared.write_skipped(made, skipped)
    some = "; ".join(f"{one.path} ({one.reason})" for one in skipped[:3])
    raise DataError(
        f"{len(skipped)} of {total} pictures in '{home}' cannot be used, more than 5 %: {some}"
        f"{'; ...' if len(skipped) > 3 else ''}: mend or remove them (all are listed in '{report}')"
    )
