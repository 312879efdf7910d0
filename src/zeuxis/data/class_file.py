"""``dataset.json``: the class of every picture, as the datasets of StyleGAN2-ADA and StyleGAN3 have it.

    {"labels": [["00000/img00000000.png", 6], ["00000/img00000001.png", 9], ...]}

``null`` in place of the list says that there are no classes. A class may also be written as 6.0, or as a row of noughts
with a 1 in its place; rows of other numbers, which those programs take too, say no class. The folders of such a dataset
hold a thousand files each, and are none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zeuxis.data.captions import MOST_BYTES, Lookup
from zeuxis.data.shards import MOST_CLASSES
from zeuxis.data.source import Skipped
from zeuxis.data.texts import decoded
from zeuxis.files import read_bytes

MOST_SHOWN = 80  # characters of an entry in a message
WANTED = 'wants {"labels": [["FILE", CLASS], ...]} with numbers of classes, or null in place of the list'


@dataclass
class Classes:
    """What a file says: by picture its class, empty where there are no classes; and what it names in vain."""

    of: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    unread: str = ""  # why it is not read at all


def read_classes(root: Path, path: str, pictures: Sequence[str]) -> Classes:
    """The classes of ``pictures`` by the file at ``path``, whose names are relative to its folder."""
    if (root / path).stat().st_size > MOST_BYTES:
        return Classes(unread=f"larger than {MOST_BYTES >> 20} MiB: divide the folder")
    try:
        found = json.loads(decoded(read_bytes(root / path, MOST_BYTES)))
    except (ValueError, RecursionError) as error:
        return Classes(unread=f"not read ({error}): {WANTED}")
    if not isinstance(found, Mapping) or "labels" not in found:
        return Classes(unread=f"has no labels: {WANTED}")
    if found["labels"] is None:
        return Classes()
    rows = list(found["labels"].items()) if isinstance(found["labels"], Mapping) else found["labels"]
    if not isinstance(rows, list) or not rows:
        return Classes(unread=WANTED)
    pairs: list[tuple[str, int]] = []
    for k, row in enumerate(rows, 1):
        if (pair := _pair(row)) is None:
            return Classes(unread=f"{WANTED}; entry {k} is {_shortened(row)}")
        pairs.append(pair)
    classes, lookup, folder = Classes(), Lookup(pictures), path[: path.rfind("/") + 1]
    torn: dict[str, set[int]] = {}
    for name, label in pairs:
        if (picture := lookup.find(folder + name)) is None:
            classes.skipped.append(Skipped(name, f"named in {path}, but no picture is there", "missing"))
        elif classes.of.setdefault(picture, label) != label:
            torn.setdefault(picture, {classes.of[picture]}).add(label)
    for picture, several in torn.items():
        del classes.of[picture]
        both = " and ".join(map(str, sorted(several)))
        classes.skipped.append(Skipped(picture, f"of class {both} by {path}, and a picture has one", "of two classes"))
    return classes


def _pair(row: Any) -> tuple[str, int] | None:
    """The file and its class that an entry says; None where it says none."""
    match row:
        case (str(name), label) if (number := _class(label)) is not None and 0 <= number < MOST_CLASSES:
            return name, number
        case _:
            return None


def _class(label: Any) -> int | None:
    match label:
        case bool():
            return None
        case int():
            return label
        case float() if label.is_integer():
            return int(label)
        case [_, *_] if all(type(n) in (int, float) and n in (0, 1) for n in label) and sum(label) == 1:
            return int(label.index(1))
        case _:
            return None


def _shortened(row: Any) -> str:
    text = json.dumps(row)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
