"""Decoded examples on disk: a folder of arrays that opens at once, by memory mapping.

images.npy    uint8 (N, C, H, W); of pictures of several sizes, their pixels one after another
sizes.npy     (N, 3) channels, height and width of each, where there are several sizes
FIELD.npy     one per numeric field of Condition
about.json    the fields that are text, what is known beside the arrays, and a hash of each split
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from zeuxis.data.fit import SQUARE, Fit
from zeuxis.data.ragged import Array, Ragged, View
from zeuxis.data.source import CONDITION_FIELDS, ArraySource, Skipped, Values, content_hash
from zeuxis.spec import Size

FORMAT = 5  # part of every key: a change of this layout makes old folders unread, not misread


@dataclass(frozen=True)
class Known:
    """What is known of the examples beside their arrays."""

    facts: Mapping[str, Any] = field(default_factory=dict)  # of DataSpec, as ArraySource takes them: class_names, ...
    splits: Mapping[str, Sequence[int]] = field(default_factory=dict)  # the rows of each
    skipped: Sequence[Skipped] = ()
    origin: str = ""  # where it is from, for ever the same: part of the fingerprint


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
    about = {"texts": texts, "facts": dict(known.facts), "origin": known.origin, "content": content}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    write_skipped(folder / "skipped.jsonl", known.skipped)


def write_skipped(path: Path, files: Sequence[Skipped]) -> None:
    """A line of JSON per file."""
    path.write_text("".join(json.dumps(asdict(file)) + "\n" for file in files), encoding="utf-8")


def read_prepared(folder: Path, name: str, split: str, fit: Fit = SQUARE, size: Size | None = None) -> ArraySource:
    """One split of what is kept in ``folder``, which was written for ``fit`` and ``size``."""
    about: dict[str, Any] = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    return ArraySource(
        name,
        _shown(_kept(folder / "images.npy"), fit, size),
        fields={field: _shown(values, fit, size) for field, values in _fields(folder, about["texts"]).items()},
        **about["facts"],
        rows=np.load(folder / f"rows-{split}.npy", allow_pickle=False),
        origin=about["origin"],
        content=about["content"][split],
        skipped=[Skipped(**json.loads(line)) for line in (folder / "skipped.jsonl").open(encoding="utf-8")],
    )


def _fields(folder: Path, texts: Mapping[str, Sequence[str]]) -> dict[str, Values | Ragged]:
    """Every field of the examples, by name."""
    paths = {name: folder / f"{name}.npy" for name in sorted(CONDITION_FIELDS)}
    return {**texts, **{name: _kept(path) for name, path in paths.items() if path.is_file()}}


def _kept(path: Path) -> Array | Ragged:
    """An array, memory-mapped; or pictures of several sizes in it."""
    kept: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    if kept.ndim != 1 or path.name not in ("images.npy", "source.npy", "mask.npy"):
        return kept
    sizes = np.load(path.parent / "sizes.npy", allow_pickle=False)
    return Ragged(kept, sizes[:, 1:], 1 if path.name == "mask.npy" else int(sizes[0, 0]))


T = TypeVar("T")


def _shown(kept: T | Ragged, fit: Fit, size: Size | None) -> T | View:
    """What is kept; of pictures of several sizes what ``fit`` shows of them."""
    if not isinstance(kept, Ragged):
        return kept
    assert size is not None  # pictures are kept at several sizes only where one was asked for
    shown = fit.view(kept, size)
    assert shown is not None
    return shown
