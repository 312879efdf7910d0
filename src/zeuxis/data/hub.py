"""Datasets of the Hugging Face hub as sources (`zeuxis.data.hub_name` for the spelling).

The commit is settled first and is part of the name from then on, in records and in the fingerprint. The rows are
read from Parquet files; their pictures' files are copied out of them and decoded as those of a folder are: once,
within the same bounds, and what cannot be used is skipped. The hub's train, validation and test are the splits;
what is missing of them is set apart from the training pictures, as in a folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from zeuxis.data import hub_files, parquet, prepared
from zeuxis.data.cache import cache_dir
from zeuxis.data.decode import PictureDecoder
from zeuxis.data.fit import SQUARE, Fit
from zeuxis.data.folder import SPLITS, prepare
from zeuxis.data.hub_files import HubFile
from zeuxis.data.hub_name import HubName
from zeuxis.data.hub_rows import Mapped, Row, listed, mapped
from zeuxis.data.source import ArraySource
from zeuxis.data.split import carve
from zeuxis.errors import DataError, NoneHeldOut, UnknownName, UsageError
from zeuxis.files import draft_folder
from zeuxis.spec import Size, spell_size

OURS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "dev": "val", "test": "test"}


def settled(name: HubName) -> HubName:
    """``name`` at a commit: asks the hub where it is not one yet."""
    if not name.pinned:
        parquet.require_pyarrow()
    return hub_files.settled(name)


def open_hub(name: HubName, size: Size | None = None, split: str = "train", fit: Fit = SQUARE) -> ArraySource:
    """A dataset's pictures brought to ``size`` by ``fit``, or as they are where all have one size.

    Raises:
        UsageError: pyarrow is not installed; a fit without a size.
        DataError: the hub cannot be reached, or more than one picture in twenty cannot be used.
        UnknownName: no such split, config or column.
    """
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    if fit.mixed and size is None:
        raise UsageError(f"--fit {fit}: to which size? Give --size (in a recipe: size)")
    name = settled(name)
    key = hashlib.sha256(repr((prepared.FORMAT, str(name), size, str(fit))).encode()).hexdigest()[:24]
    kept = cache_dir() / "prepared" / f"hub-{spell_size(size)}-{key}"
    source = prepared.open_prepared(kept, lambda: _prepare(name, size, fit, kept), str(name), split, fit, size)
    if not len(source):
        raise NoneHeldOut(f"'{name}' has too few pictures to set any apart for '{split}': choose one with more")
    return source


def _prepare(name: HubName, size: Size | None, fit: Fit, kept: Path) -> None:
    parquet.require_pyarrow()
    parts = [(part, file) for part, files in _parts(name).items() for file in files]
    paths = hub_files.fetched(name, [file for _, file in parts])
    named = [(part, path) for (part, _), path in zip(parts, paths, strict=True)]
    columns = mapped(name, parquet.columns(paths[0]))
    kept.parent.mkdir(parents=True, exist_ok=True)
    with draft_folder(kept) as room:
        listing = listed(_rows(named, columns), columns, room / "pictures")
        # Every picture lies in the pack, so the root is only what messages call it.
        decoder = PictureDecoder(Path(str(name)), listing.examples, size, listing.members, fit)
        prepare(decoder, listing, kept, lambda names: _divided(name, names), origin=str(name))


def _parts(name: HubName) -> dict[str, list[HubFile]]:
    """The files of each of our splits that the dataset has; all of the split that was asked for as "train"."""
    files = hub_files.files_of(name)
    theirs = sorted({file.split for file in files})
    wanted = name.split if name.split is not None else theirs[0] if len(theirs) == 1 else None
    if wanted is not None:
        if wanted not in theirs:
            raise UnknownName(f"split of '{name.repo}'", wanted, theirs)
        return {"train": [file for file in files if file.split == wanted]}
    parts: dict[str, list[HubFile]] = {}
    for file in files:
        if file.split in OURS:
            parts.setdefault(OURS[file.split], []).append(file)
    if "train" not in parts:
        raise DataError(
            f"'{name}' has no split 'train' but {', '.join(theirs) or 'none'}: choose one, as hub:...:SPLIT"
        )
    return parts


def _rows(parts: Sequence[tuple[str, Path]], columns: Mapped) -> Iterator[tuple[str, Row]]:
    """Every row with its name: the split, and its number there."""
    counts = dict.fromkeys(SPLITS, 0)
    for part, path in parts:
        for row in parquet.rows(path, columns.wanted):
            yield f"{part}/{counts[part]:08d}", row
            counts[part] += 1


def _divided(name: HubName, names: Sequence[str]) -> Mapping[str, list[int]]:
    """The positions of every split among ``names``; those that the dataset lacks are set apart from "train"."""
    found: dict[str, list[int]] = {}
    for position, key in enumerate(names):
        found.setdefault(key.partition("/")[0], []).append(position)
    train = found.pop("train", [])
    carved = carve(name.repo, [names[k] for k in train], tuple(s for s in ("test", "val") if s not in found))
    return found | {split: [train[k] for k in positions] for split, positions in carved.items()}
