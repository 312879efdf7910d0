"""Decoded examples on disk: a folder of arrays that opens at once, by memory mapping.

images.npy    uint8 (N, C, H, W); of pictures of several sizes, their pixels one after another
sizes.npy     (N, 3) channels, height and width of each, where there are several sizes
FIELD.npy     one per numeric field of Condition
about.json    the fields that are text, and what is known beside the arrays
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zeuxis.data.fit import SQUARE, Fit
from zeuxis.data.ragged import Array, Ragged, View
from zeuxis.data.source import CONDITION_FIELDS, ArraySource, Skipped, Values
from zeuxis.spec import Size

FORMAT = 4  # part of every key: a change of this layout makes old folders unread, not misread


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
    about = {"texts": texts, "facts": dict(known.facts), "origin": known.origin}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    write_skipped(folder / "skipped.jsonl", known.skipped)


def write_skipped(path: Path, files: Sequence[Skipped]) -> None:
    """A line of JSON per file."""
    path.write_text("".join(json.dumps(asdict(file)) + "\n" for file in files), encoding="utf-8")


def read_prepared(folder: Path, name: str, split: str, fit: Fit = SQUARE, size: Size | None = None) -> ArraySource:
    """One split of what is kept in ``folder``, which was written for ``fit`` and ``size``."""
    about: dict[str, Any] = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    fields: dict[str, Values | View] = dict(about["texts"])
    for field_name in CONDITION_FIELDS:
        path = folder / f"{field_name}.npy"
        if path.is_file():
            fields[field_name] = _pictures(path, fit, size)
    return ArraySource(
        name,
        _pictures(folder / "images.npy", fit, size),
        fields=fields,
        **about["facts"],
        rows=np.load(folder / f"rows-{split}.npy", allow_pickle=False),
        origin=about["origin"],
        skipped=[Skipped(**json.loads(line)) for line in (folder / "skipped.jsonl").open(encoding="utf-8")],
    )


def _pictures(path: Path, fit: Fit, size: Size | None) -> Array | View:
    """An array, memory-mapped; where pictures have several sizes, what ``fit`` shows of those in it."""
    kept: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    if kept.ndim != 1 or path.name not in ("images.npy", "source.npy", "mask.npy"):
        return kept
    assert size is not None  # pictures are kept at several sizes only where one was asked for
    sizes = np.load(path.parent / "sizes.npy", allow_pickle=False)
    channels = 1 if path.name == "mask.npy" else int(sizes[0, 0])
    shown = fit.view(Ragged(kept, sizes[:, 1:], channels), size)
    assert shown is not None
    return shown
