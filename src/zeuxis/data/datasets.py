"""Opening the datasets that are known by name (`zeuxis.data.entries`).

Looked for in this order: under ``$ZEUXIS_DATA``; in the cache; at the official address. What is
found is checked, decoded once at the size that is asked for, kept in the cache as arrays, and
from then on opened by memory mapping.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from zeuxis.data import prepared
from zeuxis.data.cache import cache_dir, data_dir, new_folder
from zeuxis.data.download import fetch
from zeuxis.data.entries import ENTRIES, DatasetEntry
from zeuxis.data.fit import fit_images, fit_labels
from zeuxis.data.parsers import EMBEDDED, LOCAL, REMOTE, Raw
from zeuxis.data.source import Array, ArraySource, Values
from zeuxis.data.split import carve
from zeuxis.errors import DataError, UnknownName
from zeuxis.files import file_hash
from zeuxis.spec import Size, spell_size

PICTURES = frozenset({"source", "style"})  # fields that are fitted as the images are


def open_dataset(entry: DatasetEntry, size: Size | None = None, split: str = "train") -> ArraySource:
    """One split of a dataset, at ``size`` (its natural shape where None).

    Raises:
        UnknownName: no such split.
        DataError: the files cannot be had, or are not the recorded ones.
    """
    if split not in entry.splits:
        raise UnknownName(f"split of '{entry.name}'", split, entry.splits)
    if not entry.folder:
        images, fields, known = _embedded(entry.name, size)
        return ArraySource(entry.name, images, fields=dict(fields), **known.facts, rows=np.asarray(known.splits[split]))
    folder = find_local(entry)
    sums = [f.md5 for f in entry.remote] if folder is None else [f.sha256 for f in entry.local]
    key = hashlib.sha256(repr((prepared.FORMAT, entry.name, entry.format, size, sums)).encode()).hexdigest()[:16]
    kept = cache_dir() / "prepared" / f"{entry.name}-{spell_size(size)}-{key}"
    if not kept.is_dir():
        files, parse = (fetch(entry), REMOTE) if folder is None else (verified(entry, folder), LOCAL)
        raw = parse[entry.format](files)
        images, fields, known = fitted_pictures(entry, raw, size)
        with new_folder(kept) as made:
            np.save(made / "images.npy", images)
            prepared.write_prepared(made, fields, known)
    return prepared.read_prepared(kept, entry.name, split)


@lru_cache(maxsize=4)
def _embedded(name: str, size: Size | None) -> tuple[Array, dict[str, Values], prepared.Known]:
    """A dataset that comes with another package, brought to size once for all who open it, as what is kept in the cache
    is: a comparison opens one again for each method and each figure."""
    entry = ENTRIES[name]
    images, fields, known = fitted_pictures(entry, EMBEDDED[entry.format](), size)
    for values in (images, *fields.values()):
        if isinstance(values, np.ndarray):
            values.setflags(write=False)  # as those in the cache
    return images, fields, known


def find_local(entry: DatasetEntry) -> Path | None:
    """``$ZEUXIS_DATA/<folder>``, where there is one; its files have the recorded sizes."""
    root = data_dir()
    if root is None or not (root / entry.folder).is_dir():
        return None
    folder = root / entry.folder
    for file in entry.local:
        path = folder / file.name
        if not path.is_file():
            raise DataError(f"'{path}' is missing: complete the folder, or unset ZEUXIS_DATA")
        if path.stat().st_size != file.size:
            raise DataError(
                f"'{path}' has {path.stat().st_size:,} bytes, not {file.size:,}: fetch it again, or unset ZEUXIS_DATA"
            )
    return folder


def verified(entry: DatasetEntry, folder: Path) -> Path:
    """``folder``, once its files' checksums were found to be the recorded ones."""
    for file in entry.local:
        if (found := file_hash(folder / file.name)) != file.sha256:
            raise DataError(
                f"'{folder / file.name}' has SHA-256 {found}, not the recorded {file.sha256}: "
                "fetch it again, or unset ZEUXIS_DATA"
            )
    return folder


def fitted_pictures(
    entry: DatasetEntry, raw: Raw, size: Size | None
) -> tuple[Array, dict[str, Values], prepared.Known]:
    """What was read, brought to size, with the rows of every split."""
    images = fit_images(raw.images, size, background=entry.background)
    fields: dict[str, Values] = {}
    for name, values in raw.fields.items():
        if name == "layout":
            fields[name] = fit_labels(np.asarray(values), size)
        elif name in PICTURES:
            fields[name] = fit_images(np.asarray(values), size, background=entry.background)
        else:
            fields[name] = values
    spec = entry.spec
    facts = {"class_names": spec.class_names, "layout_names": spec.layout_names, "frames": spec.frames, **raw.facts}
    return images, fields, prepared.Known(facts, _splits(entry.name, raw, len(images)))


def _splits(name: str, raw: Raw, n: int) -> dict[str, list[int]]:
    groups = raw.groups if raw.groups is not None else [str(row) for row in range(n)]
    if raw.test is None:
        return carve(name, groups)
    free = [row for row in range(n) if not raw.test[row]]
    splits = carve(name, [groups[row] for row in free], ("val",))
    own = {split: [free[position] for position in positions] for split, positions in splits.items()}
    return own | {"test": [row for row in range(n) if raw.test[row]]}
