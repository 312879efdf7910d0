"""From the rows of a dataset of the hub to a listing, as folders have one: the rule of the columns.

    image      the only column of pictures, or else the first called image, img, picture, photo
    label      the first called label, labels, class, cls, target that holds whole numbers or texts
    caption    the first called caption, captions, text, prompt, description that holds texts (of a list, the first)

A column that is named in the spelling goes before. Texts as labels become classes in natural order (2 before 10).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeuxis.data.hub_name import HubName
from zeuxis.data.layouts import Example, Listing
from zeuxis.data.names import in_natural_order
from zeuxis.data.parquet import Column
from zeuxis.data.shards import MOST_CLASSES, Member
from zeuxis.data.source import Skipped
from zeuxis.data.texts import caption_of
from zeuxis.errors import DataError, UnknownName

IMAGES = ("image", "img", "picture", "photo")
LABELS = ("label", "labels", "class", "cls", "target")
CAPTIONS = ("caption", "captions", "text", "prompt", "description")
MOST_BYTES = 1 << 28  # of a picture's file

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Mapped:
    """Which column is what."""

    image: str
    label: str | None
    caption: str | None
    class_names: tuple[str, ...]  # as the file names them

    @property
    def wanted(self) -> list[str]:
        """The columns that are read."""
        return list(dict.fromkeys(name for name in (self.image, self.label, self.caption) if name is not None))


def mapped(name: HubName, columns: Sequence[Column]) -> Mapped:
    """The columns of ``name`` by the rule.

    Raises:
        UnknownName: a column is named that is not there.
        DataError: none holds pictures, or several do and none has a usual name.
    """
    known = {column.name: column for column in columns}
    for chosen in (name.image, name.label, name.caption):
        if chosen and chosen not in known:
            raise UnknownName(f"column of '{name.repo}'", chosen, known)
    pictures = [column.name for column in columns if column.kind == "image"]
    usual = [column for column in IMAGES if column in pictures]
    image = name.image or (pictures[0] if len(pictures) == 1 else usual[0] if usual else None)
    if image is None:
        which = f"several columns of pictures ({', '.join(pictures)})" if pictures else "no column of pictures"
        raise DataError(f"'{name}' has {which} among {', '.join(known)}: name one with ,image=COLUMN")
    label = _first(known, name.label, LABELS, ("integer", "text"), {image})
    caption = _first(known, name.caption, CAPTIONS, ("text",), {image, label})
    return Mapped(image, label, caption, known[label].class_names if label is not None else ())


def _first(
    known: Mapping[str, Column], chosen: str | None, usual: Sequence[str], kinds: Sequence[str], taken: set[str | None]
) -> str | None:
    if chosen is not None:
        return chosen or None
    return next((n for n in usual if n in known and known[n].kind in kinds and n not in taken), None)


@dataclass(frozen=True)
class RowFacts:
    """What a row holds beside its picture."""

    label: int | str | None
    caption: str | None


def listed(rows: Iterator[tuple[str, Row]], columns: Mapped, pack: Path) -> Listing:
    """The listing of named ``rows``; their pictures' files are written one after another into ``pack``."""
    listing = Listing()
    facts: dict[str, RowFacts] = {}
    with pack.open("wb") as out:
        for key, row in rows:
            found = _picture(row.get(columns.image))
            if isinstance(found, str):
                listing.skipped.append(Skipped(key, found, "missing"))
                continue
            try:
                facts[key] = RowFacts(_label(row, columns.label), _caption(row, columns.caption))
            except ValueError as error:
                listing.skipped.append(Skipped(key, f"its caption is {error}", "metadata"))
                continue
            listing.members[key] = Member(pack, out.tell(), len(found))
            out.write(found)
    names = columns.class_names or _names(facts.values())
    numbers = {name: k for k, name in enumerate(names)}
    for key, fact in facts.items():
        label = numbers.get(fact.label) if isinstance(fact.label, str) else fact.label
        if columns.label is not None and (label is None or not 0 <= label < len(names)):
            listing.skipped.append(Skipped(key, f"its class is {fact.label}, none of {len(names)}", "unpaired"))
            continue
        listing.examples.append(Example(key, label=label, caption=fact.caption))
    listing.class_names = names if columns.label is not None else ()
    return listing


def _picture(value: Any) -> bytes | str:
    """The bytes of a picture's file, or why there are none."""
    found = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(found, bytes) and 0 < len(found) <= MOST_BYTES:
        return found
    if isinstance(found, bytes) and found:
        return f"a file of {len(found) / 1e6:,.0f} MB; at most {MOST_BYTES / 1e6:,.0f} are read"
    if isinstance(value, dict) and value.get("path"):
        return "the row names a file and does not hold it"
    return "no picture in this row"


def _label(row: Row, column: str | None) -> int | str | None:
    value = None if column is None else row.get(column)
    return int(value) if isinstance(value, int) else value if isinstance(value, str) else None


def _caption(row: Row, column: str | None) -> str | None:
    value = "" if column is None else row.get(column)
    if isinstance(value, list):
        value = value[0] if value else ""
    return None if column is None else caption_of(str(value or "").encode())


def _names(facts: Iterable[RowFacts]) -> tuple[str, ...]:
    """Of the labels that were met, where the file names none."""
    labels = [fact.label for fact in facts if fact.label is not None]
    texts = in_natural_order(label for label in labels if isinstance(label, str))
    most = max((label for label in labels if isinstance(label, int)), default=-1)
    names = texts if texts else tuple(map(str, range(min(most, MOST_CLASSES) + 1)))
    if len(names) > MOST_CLASSES or most >= MOST_CLASSES:
        raise DataError(f"more than {MOST_CLASSES:,} classes: that is no label; leave it out with ,label=")
    return names
