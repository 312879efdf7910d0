"""What is said of pictures beside them: ``metadata.jsonl``, ``metadata.csv``, and ``NAME.txt`` beside ``NAME.jpg``.

A line that cannot be read sets aside what it would have said, not the file; names are found whatever form they are
written in (accents composed or apart, ``\\`` for ``/``, another case where only one file is meant).
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from zeuxis.data.names import composed, without_case
from zeuxis.data.source import Skipped
from zeuxis.data.survey import OUTSIDE, is_inside

METADATA = ("metadata.jsonl", "metadata.csv")  # the first that is there is read
NAMES = ("file_name", "filename", "file", "image", "path")  # keys, or columns
SAYS = ("text", "caption", "prompt", "description")
MOST_BYTES = 1 << 28  # of a file of metadata
MOST_LINE = 1 << 20  # bytes of one line
MOST_LINES = 64  # of one row of a table
MOST_TEXT = 1 << 16  # bytes of a caption in a file of its own
BESIDE = (".txt", ".caption")
NUMBERS = re.compile(r"[\d\s.,;eE+-]*\d[\d\s.,;eE+-]*")  # boxes and classes of detectors: no caption


@dataclass(frozen=True)
class Said:
    """A line of metadata: which file, and what of it."""

    name: str  # as it is written
    text: str
    line: int


@dataclass
class Metadata:
    """A file of metadata; ``folder`` ("" or one with a ``/`` behind) is what its names are relative to."""

    path: str
    said: list[Said] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    unread: str = ""  # why it is not read at all

    @property
    def folder(self) -> str:
        return self.path[: self.path.rfind("/") + 1]


class Lookup:
    """Files by name, in whatever form it is written."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.exact = set(paths)
        self.forms: list[tuple[Callable[[str], str], dict[str, list[str]]]] = []
        for form in (composed, without_case):
            table: dict[str, list[str]] = {}
            for path in paths:
                table.setdefault(form(path), []).append(path)
            self.forms.append((form, table))

    def find(self, name: str) -> str | None:
        """The one file that ``name`` means."""
        for spelt in dict.fromkeys((name, name.replace("\\", "/"))):
            clean = os.path.normpath(spelt).replace(os.sep, "/") if spelt else ""
            if clean in self.exact:
                return clean
            for form, table in self.forms:
                if len(found := table.get(form(clean), [])) == 1:
                    return found[0]
        return None


def read_metadata(root: Path, path: str) -> Metadata:
    """A file of metadata: what it says of pictures, and the lines that say nothing."""
    full, found = root / path, Metadata(path)
    if full.stat().st_size > MOST_BYTES:
        found.unread = f"larger than {MOST_BYTES >> 20} MiB: divide the folder"
        return found
    data = full.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode("utf-16", "replace").encode("utf-8", "replace")
    data = data.removeprefix(codecs.BOM_UTF8)
    (_read_table if path.lower().endswith(".csv") else _read_lines)(found, data)
    return found


def _read_lines(found: Metadata, data: bytes) -> None:
    """One JSON object a line; lines end with a line feed, and with nothing else that Unicode calls an end."""
    for number, raw in enumerate(data.split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            if len(raw) > MOST_LINE:
                raise ValueError(f"longer than {MOST_LINE:,} bytes")
            _take(found, json.loads(raw.decode("utf-8")), number)
        except UnicodeDecodeError:
            _refuse(found, number, "not UTF-8")
        except RecursionError:
            _refuse(found, number, "nested too deep")
        except ValueError as error:  # not JSON, or a number too long
            _refuse(found, number, f"not read ({error}): write one JSON object a line")


def _read_table(found: Metadata, data: bytes) -> None:
    """Rows of a table; the first names its columns. A caption may hold commas and ends of lines, in quotes."""
    lines = [raw.removesuffix(b"\r") for raw in data.split(b"\n")]
    mark = max(",;\t", key=lines[0].decode("utf-8", "replace").count)
    columns = [name.strip().lower() for name in _row(lines[0].decode("utf-8", "replace"), mark)]
    if not (set(NAMES) & set(columns) and set(SAYS) & set(columns)):
        found.unread = f"its columns are {', '.join(columns) or 'none'}: file_name and text are wanted"
        return
    at = 1
    while at < len(lines):
        end = _end_of_row(lines, at)
        raw = b"\n".join(lines[at:end])
        try:
            if raw.strip():
                row = [] if raw.count(b'"') % 2 else _row(raw.decode("utf-8"), mark)
                if len(row) != len(columns):
                    raise ValueError(f"{len(row)} values for {len(columns)} columns, or quotes that do not end")
                _take(found, dict(zip(columns, row, strict=True)), at + 1)
        except UnicodeDecodeError:
            _refuse(found, at + 1, "not UTF-8")
        except (csv.Error, ValueError) as error:
            _refuse(found, at + 1, f"not read: {error}")
            end = at + 1  # what it would have swallowed is read
        at = end


def _end_of_row(lines: Sequence[bytes], start: int) -> int:
    """The line after the row that begins at ``start``: that where its quotes are closed, or the next."""
    quotes = 0
    for end in range(start, min(start + MOST_LINES, len(lines))):
        quotes += lines[end].count(b'"')
        if quotes % 2 == 0:
            return end + 1
    return start + 1


def _row(text: str, mark: str) -> list[str]:
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), [])


def _take(found: Metadata, facts: Any, number: int) -> None:
    if not isinstance(facts, Mapping):
        raise ValueError("no object")
    names = [facts[key] for key in NAMES if isinstance(facts.get(key), str)]
    texts = [facts[key] for key in SAYS if isinstance(facts.get(key), str)]
    if not names or not texts:
        _refuse(found, number, 'wants {"file_name": "...", "text": "..."} with two strings')
    elif any("\ud800" <= letter <= "\udfff" for letter in texts[0]):
        _refuse(found, number, "its text holds half a character (a lone surrogate)")
    else:
        found.said.append(Said(names[0], texts[0], number))


def _refuse(found: Metadata, number: int, why: str) -> None:
    found.skipped.append(Skipped(f"{found.path}, line {number}", why, "metadata"))


def resolve(
    root: Path, files: Sequence[Metadata], pictures: Sequence[str], unusable: Sequence[Skipped] = ()
) -> tuple[list[tuple[str, str]], list[Skipped]]:
    """Every picture that ``files`` name with what is said of it, in their order; and what they name in vain, of which
    some are ``unusable``."""
    found: list[tuple[str, str]] = []
    skipped: list[Skipped] = []
    if not files:
        return found, skipped
    lookup, others = Lookup(pictures), Lookup([one.path for one in unusable])
    why = {one.path: one for one in unusable}
    for file in files:
        for said in file.said:
            if (picture := lookup.find(file.folder + said.name)) is not None:
                found.append((picture, said.text))
            elif (path := others.find(file.folder + said.name)) is not None:
                skipped.append(why[path])
            elif not is_inside(root, root / file.folder / said.name):
                skipped.append(Skipped(said.name, OUTSIDE, "outside"))
            else:
                skipped.append(Skipped(said.name, f"named in {file.path}, but no picture is there", "missing"))
        skipped += file.skipped
    return found, skipped


def captions_beside(
    root: Path, pictures: Sequence[str], texts: Sequence[str]
) -> tuple[dict[str, str], list[Skipped], list[str]]:
    """Captions in files of their own, by picture; the pictures whose caption cannot be read; and the texts that were.

    Nothing where fewer than half of the pictures have one, or most hold nothing but numbers.
    """
    by_stem = {path[: path.rfind(".")]: path for path in texts if PurePosixPath(path).suffix.lower() in BESIDE}
    pairs = {picture: by_stem[stem] for picture in pictures if (stem := picture[: picture.rfind(".")]) in by_stem}
    if not pairs or 2 * len(pairs) < len(pictures):
        return {}, [], []
    read = dict(_texts(root, pairs))
    if 2 * sum(text is not None and bool(NUMBERS.fullmatch(text)) for text in read.values()) > len(read):
        return {}, [], []
    bad = [
        Skipped(picture, f"its caption {pairs[picture]} cannot be read as UTF-8", "metadata")
        for picture, text in read.items()
        if text is None
    ]
    return {picture: text for picture, text in read.items() if text is not None}, bad, list(pairs.values())


def _texts(root: Path, pairs: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    for picture, path in pairs.items():
        try:
            with (root / path).open("rb") as file:
                data = file.read(MOST_TEXT)
            wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            yield picture, data.decode("utf-16" if wide else "utf-8-sig").strip()
        except (OSError, ValueError):
            yield picture, None
