"""Decoded examples on disk: a folder of arrays that opens at once, by memory mapping.

images.npy    uint8 (N, C, H, W); of pictures of several sizes, their pixels one after another
sizes.npy     (N, 3) channels, height and width of each, where there are several sizes
source-sizes.npy  (N, 3) the same of sources, where they are smaller
FIELD.npy     one per numeric field of Condition
about.json    the fields that are text, what is known beside the arrays, and a hash of each split
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from zeuxis.data.fit import SQUARE, Fit
from zeuxis.data.ragged import Array, Ragged, View
from zeuxis.data.source import CONDITION_FIELDS, ArraySource, Skipped, Values, content_hash
from zeuxis.errors import DataError, NoneHeldOut
from zeuxis.spec import Size

ABOUT, SKIPPED = "about.json", "skipped.jsonl"
FORMAT = 6  # part of every key: a change of this layout makes old folders unread, not misread


@dataclass(frozen=True)
class Known:
    """What is known of the examples beside their arrays."""

    facts: Mapping[str, Any] = field(default_factory=dict)  # of DataSpec, as ArraySource takes them: class_names, ...
    splits: Mapping[str, Sequence[int]] = field(default_factory=dict)  # the rows of each
    skipped: Sequence[Skipped] = ()
    origin: str = ""  # where it is from, for ever the same: part of the fingerprint
    remarks: Sequence[str] = ()  # what is odd about it


def write_prepared(folder: Path, fields: Mapping[str, Values], known: Known) -> None:
    """Write everything but ``images.npy`` into ``folder``."""
    texts: dict[str, list[str]] = {}
    for name, values in fields.items():
        if isinstance(values, np.ndarray):
            np.save(folder / f"{name}.npy", values)
        else:
            texts[name] = list(values)
    for split, rows in known.splits.items():
        np.save(folder / f"rows-{split}.npy", np.asarray(rows, np.int64))
    images, held = _kept(folder / "images.npy"), _fields(folder, texts)
    content = {split: content_hash(images, held, np.asarray(rows, np.int64)) for split, rows in known.splits.items()}
    write_skipped(folder / SKIPPED, known.skipped)
    about = {
        "texts": texts,
        "facts": dict(known.facts),
        "origin": known.origin,
        "content": content,
        "remarks": list(known.remarks),
    }
    (folder / ABOUT).write_text(json.dumps({**about, "sha256": _sum(about)}), encoding="utf-8")  # the last of the files


def _sum(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def _touched(folder: Path) -> bool:
    """Whether a file was changed after all was written; on a disk it may also rot, which no look can tell."""
    last = (folder / ABOUT).stat().st_mtime_ns
    return any(path.stat().st_mtime_ns > last for path in folder.iterdir())


def write_skipped(path: Path, files: Sequence[Skipped]) -> None:
    """A line of JSON per file."""
    path.write_text("".join(json.dumps(asdict(file)) + "\n" for file in files), encoding="utf-8")


class Damaged(Exception):
    """What is kept in a folder is not what was written there; the message says what is wrong."""


def open_prepared(
    folder: Path, prepare: Callable[[], None], name: str, split: str, fit: Fit = SQUARE, size: Size | None = None
) -> ArraySource:
    """One split of what is kept in ``folder``, which ``prepare`` writes where it is not, or not sound any more."""
    mended: tuple[str, ...] = ()
    if folder.is_dir():
        try:
            return read_prepared(folder, name, split, fit, size)
        except Damaged as damage:
            mended = (f"what was kept of '{name}' was damaged ({damage}): it is made again",)
            _remove(folder)
    prepare()
    source = read_prepared(folder, name, split, fit, size)
    source.remarks = (*mended, *source.remarks)
    return source


def held_out_or_learnt(opened: Callable[[str], ArraySource], split: str, mend: str, name: str) -> ArraySource:
    """What ``opened`` has of a ``split``; where there are too few pictures to hold any out, "val" shows those of
    training, and "test" raises :class:`NoneHeldOut`, which ``mend`` ends."""
    source = opened(split)
    if len(source):
        return source
    if split != "val":
        raise NoneHeldOut(f"'{name}' has too few pictures to set any apart for '{split}': {mend}")
    source = opened("train")
    source.remarks = (*source.remarks, "too few pictures to hold any out: validation shows those of training")
    return source


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise DataError(f"'{folder}' is damaged and cannot be removed ({error.strerror}): delete it") from error


def read_prepared(folder: Path, name: str, split: str, fit: Fit = SQUARE, size: Size | None = None) -> ArraySource:
    """One split of what is kept in ``folder``, which was written for ``fit`` and ``size``.

    Raises:
        Damaged: a file is missing, torn, or changed.
    """
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if about.pop("sha256") != _sum(about):
            raise Damaged(f"{ABOUT} is not what was written")
        images, fields = _kept(folder / "images.npy"), _fields(folder, about["texts"])
        rows = {part: np.load(folder / f"rows-{part}.npy", allow_pickle=False) for part in about["content"]}
        if _touched(folder) and any(
            content_hash(images, fields, rows[part]) != kept for part, kept in about["content"].items()
        ):
            raise Damaged("its bytes are not those that were written")
        source = ArraySource(
            name,
            _shown(images, fit, size),
            fields={field: _shown(values, fit, size, beside=True) for field, values in fields.items()},
            **about["facts"],
            rows=rows[split],
            origin=about["origin"],
            content=about["content"][split],
            skipped=[Skipped(**json.loads(line)) for line in (folder / SKIPPED).open(encoding="utf-8")],
        )
        source.remarks = tuple(about["remarks"])
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, AttributeError) as error:
        raise Damaged(" ".join(f"{type(error).__name__}: {error}".split())[:120]) from error
    return source


def _fields(folder: Path, texts: Mapping[str, Sequence[str]]) -> dict[str, Values | Ragged]:
    """Every field of the examples, by name."""
    paths = {name: folder / f"{name}.npy" for name in sorted(CONDITION_FIELDS)}
    return {**texts, **{name: _kept(path) for name, path in paths.items() if path.is_file()}}


def _kept(path: Path) -> Array | Ragged:
    """An array, memory-mapped; or pictures of several sizes in it."""
    kept: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    if kept.ndim != 1 or path.name not in ("images.npy", "source.npy", "mask.npy"):
        return kept
    own = path.with_name(f"{path.stem}-sizes.npy")
    sizes = np.load(own if own.is_file() else path.parent / "sizes.npy", allow_pickle=False)
    return Ragged(kept, sizes[:, 1:], 1 if path.name == "mask.npy" else int(sizes[0, 0]))


T = TypeVar("T")


def _shown(kept: T | Ragged, fit: Fit, size: Size | None, *, beside: bool = False) -> T | View:
    """What is kept; of pictures of several sizes, or of what lies ``beside`` such, what ``fit`` shows of them."""
    if not isinstance(kept, Ragged):
        return kept
    assert size is not None  # pictures are kept at several sizes only where one was asked for
    shown = fit.view(kept, size, beside=beside)
    assert shown is not None
    return shown
