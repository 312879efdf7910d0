"""Decoded examples on disk: a folder of arrays that opens at once, by memory mapping.

images.npy    uint8 (N, C, H, W)
FIELD.npy     one per numeric field of Condition
about.json    the fields that are text, and plain facts: class names, factors, splits
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zeuxis.data.source import FIELDS, ArraySource, SetAside, Values

FORMAT = 2  # part of every key: a change of this layout makes old folders unread, not misread


@dataclass(frozen=True)
class Facts:
    """What is known of the examples beside their arrays."""

    class_names: tuple[str, ...] = ()
    factors: tuple[tuple[str, int], ...] = ()
    splits: Mapping[str, Sequence[int]] = field(default_factory=dict)  # the rows of each
    set_aside: Sequence[SetAside] = ()


def write(folder: Path, fields: Mapping[str, Values], facts: Facts) -> None:
    """Write everything but ``images.npy`` into ``folder``."""
    texts: dict[str, list[str]] = {}
    for name, values in fields.items():
        if isinstance(values, np.ndarray):
            np.save(folder / f"{name}.npy", values)
        else:
            texts[name] = list(values)
    for split, rows in facts.splits.items():
        np.save(folder / f"rows-{split}.npy", np.asarray(rows, np.int64))
    about = {"texts": texts, "class_names": facts.class_names, "factors": facts.factors}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    write_set_aside(folder / "set_aside.jsonl", facts.set_aside)


def write_set_aside(path: Path, files: Sequence[SetAside]) -> None:
    """A line of JSON per file."""
    path.write_text("".join(json.dumps(asdict(file)) + "\n" for file in files), encoding="utf-8")


def read(folder: Path, name: str, split: str) -> ArraySource:
    """One split of what is kept in ``folder``."""
    about: dict[str, Any] = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    fields: dict[str, Values] = dict(about["texts"])
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
        rows=np.load(folder / f"rows-{split}.npy", allow_pickle=False),
        set_aside=[SetAside(**json.loads(line)) for line in (folder / "set_aside.jsonl").open(encoding="utf-8")],
    )
