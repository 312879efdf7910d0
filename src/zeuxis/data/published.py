"""The papers' own sets: where a copy is found on this machine, and how it is read. Nothing here asks the network.

``published.toml`` lists them. A copy is a folder of the set's name, in ``$ZEUXIS_DATA``, in the working folder or in
the cache, that holds what the set holds; ``zeuxis data NAME --fetch`` makes one (`zeuxis.data.fetch_set`). Imports
neither torch nor numpy.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from zeuxis.data.cache import cache_dir, data_dir
from zeuxis.errors import DataError

FILE = Path(__file__).with_name("published.toml")
Reads = Literal["halves", "collections", "pairs", "pictures"]


@dataclass(frozen=True)
class Archive:
    """An official file and its mirrors. ``about`` is its size in words, where nobody made known its bytes."""

    name: str
    urls: tuple[str, ...]
    size: int | None = None  # bytes
    sha256: str | None = None
    about: str = ""

    @property
    def weight(self) -> str:
        """Its size in words: "78 MB"."""
        if self.size is None:
            return f"about {self.about}"
        return f"{self.size / 1e9:.1f} GB" if self.size >= 1e9 else f"{self.size / 1e6:.0f} MB"


@dataclass(frozen=True)
class PublishedSet:
    """One set.

    ``reads`` says how its folder is read: "halves" are pictures of two side by side, of which ``source_half`` is the
    source; "collections" are ``trainA`` and ``trainB``; "pairs" two folders with equal names; "pictures" is the rest.
    ``sides`` are what the source and the image show. A copy has at least the folders ``holds``. ``take`` are the
    members of the archives that are used, as patterns, each with the place that it gets in the folder ("{0}" is its
    first group); without any all are, below the folder that they share.
    """

    name: str
    title: str
    reads: Reads
    holds: tuple[str, ...]
    licence: str
    citation: str
    homepage: str
    archives: tuple[Archive, ...]
    sides: tuple[str, str] = ("source", "image")
    source_half: Literal["left", "right"] = "left"
    take: tuple[tuple[str, str], ...] = ()

    @property
    def weight(self) -> str:
        """What is to be fetched: "3.5 GB and 449 MB"."""
        return " and ".join(archive.weight for archive in self.archives)

    @property
    def address(self) -> str:
        """Whence."""
        return self.archives[0].urls[0].rpartition("/")[0]


def _read() -> dict[str, PublishedSet]:
    return {name: _set(name, table) for name, table in tomllib.loads(FILE.read_text(encoding="utf-8")).items()}


def _set(name: str, table: Mapping[str, Any]) -> PublishedSet:
    assert table["reads"] in get_args(Reads), name
    archives = tuple(Archive(**{**row, "urls": tuple(row["urls"])}) for row in table["archives"])
    lists = {key: tuple(table[key]) for key in ("holds", "sides") if key in table}
    take = tuple((pattern, place) for pattern, place in table.get("take", ()))
    return PublishedSet(name=name, **{**table, **lists, "archives": archives, "take": take})


PUBLISHED: dict[str, PublishedSet] = _read()


def fetched_to(entry: PublishedSet) -> Path:
    """Where ``--fetch`` puts a copy."""
    return cache_dir() / "sets" / entry.name


def places(entry: PublishedSet) -> list[Path]:
    """Where a copy is looked for, in this order."""
    root = data_dir()
    return [*([] if root is None else [root / entry.name]), Path(entry.name), fetched_to(entry)]


def copy_of(entry: PublishedSet) -> Path | None:
    """The copy on this machine; None where there is none, or none that holds what the set holds."""
    return next((p for p in places(entry) if all((p / part).is_dir() for part in entry.holds)), None)


def require_copy(entry: PublishedSet) -> Path:
    """The copy on this machine. Raises :class:`DataError`, which says how to get one, where there is none."""
    found = copy_of(entry)
    if found is None:
        partial = next((p for p in places(entry) if p.is_dir()), None)
        lacks = [] if partial is None else [part for part in entry.holds if not (partial / part).is_dir()]
        seen = f" ('{partial}' has no {lacks[0]}/)" if lacks else ""
        raise DataError(
            f"'{entry.name}' is not on this machine{seen}: zeuxis data {entry.name} --fetch gets it ({entry.weight}, "
            f"from {entry.address}), or put a copy with {', '.join(entry.holds)} into $ZEUXIS_DATA/{entry.name}"
        )
    return found


def listed(entry: PublishedSet) -> dict[str, Any]:
    """A set as plain values, for lists."""
    found = copy_of(entry)
    return {
        "name": entry.name,
        "title": entry.title,
        "reads": entry.reads,
        "sides": list(entry.sides),
        "licence": entry.licence,
        "citation": entry.citation,
        "homepage": entry.homepage,
        "fetches": entry.weight,
        "from": entry.address,
        "folder": None if found is None else str(found),
    }
