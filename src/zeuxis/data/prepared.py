"""Decoded examples on disk: a folder of arrays that opens at once, by memory mapping.

images.npy    uint8 (N, C, H, W)
FIELD.npy     one per numeric field of Condition
about.json    the fields that are text, and plain facts: class names, factors, splits
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zeuxis.data.source import FIELDS, Array, ArraySource

FORMAT = 1  # part of every key: a change of this layout makes old folders unread, not misread


@dataclass(frozen=True)
class Facts:
    """What is known of the examples beside their arrays."""

    class_names: tuple[str, ...] = ()
    factors: tuple[tuple[str, int], ...] = ()
    splits: Mapping[str, Sequence[int]] = field(default_factory=dict)  # rows of each; empty: all rows are one set


def write(folder: Path, fields: Mapping[str, Array | Sequence[str]], facts: Facts) -> None:
    """Write everything but ``images.npy`` into ``folder``."""
    texts: dict[str, list[str]] = {}
    for name, values in fields.items():
        if isinstance(values, np.ndarray):
            np.save(folder / f"{name}.npy", values)
        else:
            texts[name] = list(values)
    for split, rows in facts.splits.items():
        np.save(folder / f"rows-{split}.npy", np.asarray(rows, np.int64))
    about = {
        "texts": texts,
        "class_names": facts.class_names,
        "factors": facts.factors,
        "splits": list(facts.splits),
    }
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def read(folder: Path, name: str, split: str | None = None) -> ArraySource:
    """The source kept in ``folder``: one of its splits, or all of it."""
    about: dict[str, Any] = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    fields: dict[str, Array | Sequence[str]] = dict(about["texts"])
    for field_name in FIELDS:
        path = folder / f"{field_name}.npy"
        if path.is_file():
            fields[field_name] = np.load(path, mmap_mode="r", allow_pickle=False)
    return ArraySource(
        name,
        np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False),
        fields=fields,
        class_names=about["class_names"],
        factors=[(n, k) for n, k in about["factors"]],
        rows=None if split is None else np.load(folder / f"rows-{split}.npy", allow_pickle=False),
    )
