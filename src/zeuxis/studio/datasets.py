"""Data sets that are given picture by picture: folders of the service's own, which trainings read. Imports no torch."""

from __future__ import annotations

import json
import secrets
import shutil
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeuxis.data.pairs import DOUBTFUL, IMAGES, MASKS, SOURCES, TARGETS
from zeuxis.errors import UsageError
from zeuxis.files import read_table, why_no_name
from zeuxis.provenance.record import write_whole
from zeuxis.studio.folders import NAME

MOST_SETS = 50
MOST_SET_PICTURES = 20_000
MOST_SET_BYTES = 4 << 30  # of all pictures of a set, as they are kept
MOST_LABELS = 1000
MOST_LABEL = 60  # characters
CARD, PICTURES = "set.json", "pictures"
HALVES = frozenset(each.lower() for pair in (TARGETS, SOURCES, IMAGES, MASKS, *DOUBTFUL) for each in pair) - {"a", "b"}


@dataclass(frozen=True)
class Dataset:
    """A set as it stands; ``folder`` holds its pictures, in a folder for each label where there are labels."""

    name: str
    title: str
    created: float
    folder: Path
    count: int
    bytes: int
    labels: dict[str, int]  # pictures of each

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        kept = ("name", "title", "created", "bytes", "labels")
        return {**{key: getattr(self, key) for key in kept}, "pictures": self.count}


class Datasets:
    """The data sets of a service, in the folder ``home``."""

    _lock = threading.Lock()  # two uploads at once are counted one after another

    def __init__(self, home: Path) -> None:
        self.home = home / "datasets"

    def make(self, title: str) -> Dataset:
        """A new set without pictures."""
        if (why := why_no_name(title)) is not None:
            raise UsageError(f"title {title!r}: {why}")
        with self._lock:
            if len(self.all()) >= MOST_SETS:
                raise UsageError(f"there are {MOST_SETS} data sets already: delete one first")
            name = secrets.token_hex(8)
            folder = self.home / name
            (folder / PICTURES).mkdir(parents=True)
            write_whole(folder / CARD, json.dumps({"title": title, "created": time.time()}).encode())
        return self.called(name)

    def all(self) -> list[Dataset]:
        """Every set, the oldest first."""
        folders = self.home.iterdir() if self.home.is_dir() else ()
        names = [path.name for path in folders if NAME.fullmatch(path.name) and (path / CARD).is_file()]
        return sorted(map(self.called, names), key=lambda found: found.created)

    def called(self, name: str) -> Dataset:
        """The set of that name; raises :class:`UsageError` where there is none."""
        if NAME.fullmatch(name) is None or not (self.home / name / CARD).is_file():
            raise UsageError(f"there is no data set {name!r}: GET /api/datasets lists them")
        facts = read_table(self.home / name / CARD)
        folder = self.home / name / PICTURES
        files = [path for path in folder.rglob("*.png") if path.is_file()]
        labels = Counter(path.parent.name for path in files if path.parent != folder)
        size = sum(path.stat().st_size for path in files)
        return Dataset(
            name, str(facts["title"]), float(facts["created"]), folder, len(files), size, dict(sorted(labels.items()))
        )

    def add(self, name: str, pngs: list[bytes], label: str | None) -> Dataset:
        """Keep pictures, all of one label, under names of our own; all of them or none."""
        if label is not None:
            check_label(label)
        with self._lock:
            found = self.called(name)
            if found.count + len(pngs) > MOST_SET_PICTURES:
                raise UsageError(
                    f"{found.count:,} pictures and {len(pngs)} more: a data set holds {MOST_SET_PICTURES:,} at most"
                )
            if found.bytes + sum(map(len, pngs)) > MOST_SET_BYTES:
                raise UsageError(f"a data set holds {MOST_SET_BYTES >> 30} GiB at most: give smaller pictures")
            if label is not None and label not in found.labels and len(found.labels) >= MOST_LABELS:
                raise UsageError(f"a data set has {MOST_LABELS:,} labels at most")
            inside = found.folder if label is None else found.folder / label
            inside.mkdir(exist_ok=True)
            for k, png in enumerate(pngs):
                write_whole(inside / f"{found.count + k:06d}.png", png)
        return self.called(name)

    def remove(self, name: str) -> None:
        """Forget a set and its pictures; runs that were trained on it stay, and cannot be gone on with."""
        found = self.called(name)
        shutil.rmtree(found.folder.parent)


def check_label(label: str) -> None:
    """Refuse a label that cannot be the name of a folder, or that would be read as a half of pairs."""
    if len(label) > MOST_LABEL:
        raise UsageError(f"label {label[:20]!r}...: {MOST_LABEL} characters at most")
    if (why := why_no_name(label)) is not None:
        raise UsageError(f"label {label!r}: {why}")
    if label.lower() in HALVES:
        raise UsageError(
            f"label {label!r}: folders of that name hold halves of pairs, which belong together by their names, and "
            "names are not kept here: train on such a folder at a terminal (zeuxis train RECIPE --data FOLDER)"
        )
