"""The datasets and worlds that are known by name, read from ``datasets.toml`` and ``worlds.toml`` beside this file.

Imports neither torch nor numpy, so that listing is quick.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeuxis.data.cache import cache_dir, data_dir
from zeuxis.data.published import PUBLISHED, copy_of
from zeuxis.data.unpaired_name import ARROW
from zeuxis.errors import UnknownName
from zeuxis.spec import DataSpec

HERE = Path(__file__).parent
OF_WORLDS: Mapping[str, Any] = {  # keys that every world shares
    "format": "world",
    "splits": {"train": 1_000_000, "val": 1_000_000, "test": 1_000_000},
    "licence": "Apache-2.0",
    "may_ship": True,
    "citation": "Zeuxis",
    "homepage": "drawn on demand, at any size",
}

UNKNOWN = ("words", "factors")  # facts that no file of entries states: they are found by opening the data


@dataclass(frozen=True)
class LocalFile:
    """A file under ``$ZEUXIS_DATA/<folder>``."""

    name: str
    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class RemoteFile:
    """An official file: its address and the checksum that its publisher (or its readers) made known."""

    url: str
    md5: str

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class DatasetEntry:
    """One dataset or world.

    ``spec`` holds its facts at its natural size, as far as they are known without opening a file (words, and the
    factors of datasets, are not); ``splits`` the number of examples in each. Where no public test set exists, test and
    validation examples are set apart by a stable rule (`zeuxis.data.split`). ``background`` is the grey level around
    the subject, for padding.
    """

    name: str
    title: str
    format: str  # which function of `zeuxis.data.parsers` takes the files; "world" for a world
    spec: DataSpec
    provides: tuple[str, ...]  # fields of Condition, in the order in which they are listed
    splits: Mapping[str, int]
    licence: str
    may_ship: bool
    citation: str
    homepage: str
    folder: str = ""  # under $ZEUXIS_DATA; "" for a set that needs no file
    local: tuple[LocalFile, ...] = ()
    remote: tuple[RemoteFile, ...] = ()
    background: int | None = None
    sides: tuple[str, str] = ("source", "image")  # what the two of a pair are called
    note: str = ""
    pictures_of: str = ""  # the set whose pictures these are too, so that what reads those reads these


def _entry(name: str, table: Mapping[str, Any]) -> DatasetEntry:
    """The entry that a table of the files describes."""
    facts = DataSpec.__dataclass_fields__.keys() - {"provides"}
    others = {key: value for key, value in table.items() if key not in facts}
    files = {
        "local": tuple(LocalFile(**file) for file in table.get("local", ())),
        "remote": tuple(RemoteFile(**file) for file in table.get("remote", ())),
        "sides": tuple(table.get("sides", ("source", "image"))),
    }
    return DatasetEntry(
        name=name, spec=DataSpec.from_dict(table), **{**others, **files, "provides": tuple(table["provides"])}
    )


def _read() -> Iterator[DatasetEntry]:
    for file, common in (("datasets.toml", {}), ("worlds.toml", OF_WORLDS)):
        for name, table in tomllib.loads((HERE / file).read_text(encoding="utf-8")).items():
            yield _entry(name, {**common, **table})


ENTRIES: dict[str, DatasetEntry] = {entry.name: entry for entry in _read()}


def names() -> list[str]:
    """Every dataset and world that has a name."""
    return sorted(ENTRIES)


def providing(field: str) -> list[str]:
    """The names of those that provide a field of ``Condition``."""
    return [name for name in names() if field in ENTRIES[name].provides]


def may_show(name: str) -> bool:
    """Whether pictures made from ``name`` may be published: a user's own data is left to the user."""
    parts = [clean_name(part) for part in name.split(ARROW)]
    return all(ENTRIES[part].may_ship if part in ENTRIES else part not in PUBLISHED for part in parts)


def kin(name: str) -> tuple[str, ...]:
    """``name`` without what degrades it, and the set whose pictures it shows, if there is such a set."""
    clean = clean_name(name)
    entry = ENTRIES.get(clean)
    return (clean, entry.pictures_of) if entry is not None and entry.pictures_of else (clean,)


def clean_name(name: str) -> str:
    """``name`` without what degrades it."""
    return name.partition("|")[0].strip()


def describe(name: str) -> dict[str, Any]:
    """A dataset's card, as plain values: what it is, provides and may be used for, and where it would come from."""
    if name not in ENTRIES:
        raise UnknownName("dataset", name, ENTRIES)
    entry = ENTRIES[name]
    return {**listing_row(entry), "comes_from": _comes_from(entry)}


def listing_row(entry: DatasetEntry) -> dict[str, Any]:
    """An entry as plain values, for lists."""
    return {
        "name": entry.name,
        "title": entry.title,
        **{key: value for key, value in entry.spec.as_dict().items() if key not in UNKNOWN},
        "provides": list(entry.provides),
        "splits": dict(entry.splits),
        "licence": entry.licence,
        "may_ship": entry.may_ship,
        "citation": entry.citation,
        "homepage": entry.homepage,
        "note": entry.note,
    }


def is_here(entry: DatasetEntry) -> bool:
    """Whether nothing has to be fetched for a set: it is built in, under ``$ZEUXIS_DATA``, or was fetched before."""
    root, fetched = data_dir(), cache_dir() / "downloads" / entry.name
    if not entry.folder or (root is not None and (root / entry.folder).is_dir()):
        return True
    return bool(entry.remote) and all((fetched / file.name).is_file() for file in entry.remote)


def not_here(name: str) -> list[str]:
    """The sets that the data called ``name`` are made of, and that have to be fetched first."""
    parts = [clean_name(part) for part in name.split(ARROW)]
    lacking = [part for part in parts if part in ENTRIES and not is_here(ENTRIES[part])]
    return [*lacking, *(part for part in parts if part in PUBLISHED and copy_of(PUBLISHED[part]) is None)]


def _comes_from(entry: DatasetEntry) -> str:
    root = data_dir()
    if not entry.folder:
        return "built in"
    if root is not None and (root / entry.folder).is_dir():
        return str(root / entry.folder)
    if entry.remote:
        return f"downloaded when first used, from {entry.remote[0].url.rpartition('/')[0]}"
    return f"not here: get it from {entry.homepage} and set ZEUXIS_DATA to the folder that holds '{entry.folder}/'"
