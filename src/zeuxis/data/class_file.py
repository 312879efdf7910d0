"""``dataset.json``: the class of every picture, as the datasets of StyleGAN2-ADA and StyleGAN3 have it.

    {"labels": [["00000/img00000000.png", 6], ["00000/img00000001.png", 9], ...]}

``null`` in place of the list says that there are no classes. The folders of such a dataset hold a thousand files each,
and are none.
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
    pairs = list(found["labels"].items()) if isinstance(found["labels"], Mapping) else found["labels"]
    if not isinstance(pairs, list) or not pairs or not all(map(_is_pair, pairs)):
        return Classes(unread=WANTED)
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


def _is_pair(pair: Any) -> bool:
    match pair:
        case (str(), bool()):
            return False
        case (str(), int(label)):
            return 0 <= label < MOST_CLASSES
        case _:
            return False
