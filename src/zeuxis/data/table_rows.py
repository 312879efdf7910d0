"""From the rows of tables of pictures to a listing, as folders have one: the rule of the columns.

    image      the only column of pictures, or else the first called image, img, picture, photo
    label      the first called label, labels, class, cls, target that holds whole numbers or texts, or else real ones
    caption    the first called caption, captions, text, prompt, description that holds texts (of a list, the first)

A column that is named in the spelling goes before. Texts as labels become classes in natural order (2 before 10). A
column that nobody named tells no classes where fewer than half of the training pictures have one, or nearly each its
own. -1 and nothing at all are no label, and a split without any is not used.

Nothing in a row becomes a path: what it says of one is shown at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from zeuxis.data.hub_name import HubName
from zeuxis.data.layouts import Example, Listing
from zeuxis.data.names import in_natural_order
from zeuxis.data.parquet import Column, LostRow
from zeuxis.data.shards import MOST_CLASSES, Member
from zeuxis.data.source import Skipped
from zeuxis.data.tables_name import TablesName
from zeuxis.data.texts import caption_of
from zeuxis.errors import DataError, UnknownName

IMAGES = ("image", "img", "picture", "photo")
LABELS = ("label", "labels", "class", "cls", "target")
CAPTIONS = ("caption", "captions", "text", "prompt", "description")
MOST_BYTES = 1 << 28  # of a picture's file
NOTHING = -1  # how the hub spells that a row has no class
LISTED = 12  # columns that a message has room for
MOST_NAME = 80  # characters of a file's name that are shown

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Mapped:
    """Which column is what."""

    image: str
    label: str | None
    caption: str | None
    class_names: tuple[str, ...]  # as the file names them
    rest: tuple[str, ...] = ()  # columns that are not read

    @property
    def wanted(self) -> list[str]:
        """The columns that are read."""
        return list(dict.fromkeys(name for name in (self.image, self.label, self.caption) if name is not None))


def mapped(name: HubName | TablesName, columns: Sequence[Column]) -> Mapped:
    """The columns of ``name`` by the rule.

    Raises:
        UnknownName: a column is named that is not there.
        DataError: none holds pictures, or several do and none has a usual name.
    """
    known = {column.name: column for column in columns}
    for chosen in (name.image, name.label, name.caption):
        if chosen and chosen not in known:
            raise UnknownName(f"column of '{name.title}'", chosen, known)
    pictures = [column.name for column in columns if column.kind == "image"]
    usual = [column for column in IMAGES if column in pictures]
    image = name.image or (pictures[0] if len(pictures) == 1 else usual[0] if usual else None)
    if image is None:
        which = f"several columns of pictures ({', '.join(pictures)})" if pictures else "no column of pictures"
        spelt = replace(name, image="COLUMN")
        raise DataError(f"'{name}' has {which} among {_some(known)}: name one that holds their files, as {spelt}")
    label = _first(known, name.label, LABELS, ("integer", "text"), {image})
    if name.label is None and label is None:  # pandas writes whole numbers as real ones where one is missing
        label = _first(known, None, LABELS, ("real",), {image})
    caption = _first(known, name.caption, CAPTIONS, ("text",), {image, label})
    rest = tuple(column for column in known if column not in (image, label, caption))
    return Mapped(image, label, caption, known[label].class_names if label is not None else (), rest)


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


def listed(
    rows: Iterator[tuple[str, Row | LostRow]], columns: Mapped, pack: Path, name: HubName | TablesName
) -> Listing:
    """The listing of ``rows`` by their names (``SPLIT/NUMBER``); their pictures' files are written one after another
    into ``pack``."""
    listing = Listing()
    facts: dict[str, RowFacts] = {}
    with pack.open("wb") as out:
        for key, row in rows:
            if isinstance(row, LostRow):
                listing.skipped.append(Skipped(key, row.reason, "damaged"))
                continue
            found = _picture(row.get(columns.image))
            if isinstance(found, LostRow):
                listing.skipped.append(Skipped(key, found.reason, "missing"))
                continue
            try:
                facts[key] = RowFacts(_label(row, columns.label), _caption(row, columns.caption))
            except ValueError as error:
                listing.skipped.append(Skipped(key, f"its caption is {error}", "metadata"))
                continue
            listing.members[key] = Member(pack, out.tell(), len(found))
            out.write(found)
    told = _told(facts, columns, chosen=name.label is not None)
    names = () if told else columns.class_names or _names(facts.values(), name) if columns.label is not None else ()
    numbers = {spelt: k for k, spelt in enumerate(names)}
    silent = _silent(facts) if names else frozenset[str]()
    for key, fact in facts.items():
        label = numbers.get(fact.label) if isinstance(fact.label, str) else fact.label
        if key.partition("/")[0] in silent:
            continue
        if names and (label is None or not 0 <= label < len(names)):
            listing.skipped.append(Skipped(key, f"its class is {fact.label}, none of {len(names)}", "unpaired"))
            continue
        listing.examples.append(Example(key, label=label if names else None, caption=fact.caption))
    listing.class_names = names
    listing.how = _how(columns, names, told, silent)
    return listing


def _told(facts: Mapping[str, RowFacts], columns: Mapped, *, chosen: bool) -> str:
    """Why the column of labels tells no classes; "" where it does. One that is ``chosen`` by name does if it can."""
    if columns.label is None:
        return ""
    labels = [fact.label for key, fact in facts.items() if key.startswith("train/")]
    given = [label for label in labels if label is not None and label != NOTHING]
    if chosen:
        return "" if given else f"'{columns.label}' tells no class at all"
    if 2 * len(given) < len(labels):
        return f"'{columns.label}' tells fewer than half of the pictures a class, and is not used"
    if not columns.class_names and 2 * len(set(given)) > max(2, len(given)):
        return f"'{columns.label}' tells nearly each picture a class of its own, and is not used"
    return ""


def _silent(facts: Mapping[str, RowFacts]) -> frozenset[str]:
    """The splits, but that to train on, of which no picture has a class."""
    told: dict[str, bool] = {}
    for key, fact in facts.items():
        split = key.partition("/")[0]
        told[split] = told.get(split, False) or (fact.label is not None and fact.label != NOTHING)
    return frozenset(split for split, any_label in told.items() if not any_label and split != "train")


def _how(columns: Mapped, names: Sequence[str], told: str, silent: Iterable[str]) -> str:
    """How tables were read, in a few words."""
    found = [f"pictures of '{columns.image}'"]
    found += [f"{len(names)} class{'es' * (len(names) != 1)} of '{columns.label}'"] * bool(names)
    found += [f"captions of '{columns.caption}'"] * (columns.caption is not None)
    aside = [f"{split} tells no classes, and is not used" for split in sorted(silent)]
    aside += [told] * bool(told) + [f"columns that are not read: {_some(columns.rest)}"] * bool(columns.rest)
    return f"tables of Parquet, {', '.join(found)}" + (f" ({'; '.join(aside)})" if aside else "")


def _some(names: Iterable[str]) -> str:
    """The first of several names."""
    every = list(names)
    return ", ".join(islice(every, LISTED)) + (f" and {len(every) - LISTED} more" if len(every) > LISTED else "")


def _picture(value: Any) -> bytes | LostRow:
    """The bytes of a picture's file, or why there are none."""
    found = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(found, bytes) and 0 < len(found) <= MOST_BYTES:
        return found
    if isinstance(found, bytes) and found:
        return LostRow(f"a file of {len(found) / 1e6:,.0f} MB; at most {MOST_BYTES / 1e6:,.0f} are read")
    if isinstance(value, dict) and isinstance(path := value.get("path"), str) and path:
        return LostRow(f"the row names a file and does not hold it: {path[:MOST_NAME]!a}")
    return LostRow("no picture in this row")


def _label(row: Row, column: str | None) -> int | str | None:
    value = None if column is None else row.get(column)
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return value.strip() or None if isinstance(value, str) else None


def _caption(row: Row, column: str | None) -> str | None:
    value = "" if column is None else row.get(column)
    if isinstance(value, list):
        value = value[0] if value else ""
    return None if column is None else caption_of(str(value or "").encode())


def _names(facts: Iterable[RowFacts], name: HubName | TablesName) -> tuple[str, ...]:
    """Of the labels that were met, where the file names none."""
    labels = [fact.label for fact in facts if fact.label is not None]
    texts = in_natural_order(label for label in labels if isinstance(label, str))
    most = max((label for label in labels if isinstance(label, int)), default=-1)
    names = texts if texts else tuple(map(str, range(min(most, MOST_CLASSES) + 1)))
    if len(names) > MOST_CLASSES or most >= MOST_CLASSES:
        without = replace(name, label="")
        raise DataError(f"'{name}' has more than {MOST_CLASSES:,} classes: leave that label out, as {without}")
    return names
