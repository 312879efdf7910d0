"""Datasets of the Hugging Face hub as sources (`zeuxis.data.hub_name` for the spelling).

The commit is settled first and is part of the name from then on, in records and in the fingerprint. The rows are
read from Parquet files; their pictures' files are copied out of them and decoded as those of a folder are: once,
within the same bounds, and what cannot be used is skipped. The hub's train, validation and test are the splits;
what is missing of them is set apart from the training pictures, as in a folder.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from zeuxis.data import hub_files, parquet, prepared
from zeuxis.data.cache import cache_dir
from zeuxis.data.decode import PictureDecoder
from zeuxis.data.fit import SQUARE, Fit
from zeuxis.data.hub_name import HubName
from zeuxis.data.preparing import SPLITS, prepare
from zeuxis.data.source import ArraySource
from zeuxis.data.table_files import parts_of
from zeuxis.data.tables import divided, unpacked
from zeuxis.errors import NoneHeldOut, UnknownName, UsageError
from zeuxis.spec import Size, spell_size


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
    parts = [(part, file) for part, files in parts_of(name, hub_files.files_of(name)).items() for file in files]
    paths = hub_files.fetched(name, [file for _, file in parts])
    with unpacked(name, [(part, path) for (part, _), path in zip(parts, paths, strict=True)], kept) as listing:
        # Every picture lies in the pack, so the root is only what messages call it.
        decoder = PictureDecoder(Path(str(name)), listing.examples, size, listing.members, fit)
        prepare(decoder, listing, kept, lambda names: divided(name.repo, names), str(name), listing.how)
