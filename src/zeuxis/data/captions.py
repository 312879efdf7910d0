"""What is said of pictures beside them: ``metadata.jsonl``, ``metadata.csv``, and ``NAME.txt`` beside ``NAME.jpg``.

A file of metadata tells captions (``text``), classes (``label``, a number or a name), or both.

A file of metadata may also name the picture that each is made from (``conditioning_image``, ``source``), as public
programs that train ControlNets have it; ``prompt.json`` is how the authors' own calls such a file.

A line that cannot be read sets aside what it would have said, not the file; names are found whatever form they are
written in (accents composed or apart, ``\\`` for ``/``, another case where only one file is meant).
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from zeuxis.data.names import composed, without_case
from zeuxis.data.source import Skipped
from zeuxis.data.survey import OUTSIDE, is_inside
from zeuxis.data.texts import WIDE, decoded, first_text, object_in, read_caption, whole
from zeuxis.files import read_bytes

METADATA = ("metadata.jsonl", "metadata.csv", "prompt.json")  # the first that is there is read
NAMES = ("file_name", "filename", "file", "image", "path", "target", "output")  # keys, or columns
SAYS = ("text", "caption", "prompt", "description")
LABELS = ("label", "class", "category")
SOURCES = ("conditioning_image", "conditioning", "source", "control_image", "control", "hint", "input_image", "input")
FILE = "_file_name"  # what may stand behind a key that names a picture
WANTED = 'wants {"file_name": "...", "text": "..."} with two strings, or "label" in place of "text"'
MOST_BYTES = 1 << 28  # of a file of metadata
MOST_LINE = 1 << 20  # bytes of one line
MOST_LINES = 64  # of one row of a table
SHOWN = 40  # characters of what is no class
LISTED = 6  # keys that a message has room for
BESIDE = (".txt", ".caption")
NUMBERS = re.compile(r"[\d\s.,;eE+-]+")  # with a digit: boxes and classes of detectors, and no caption
END_OF_LINE = re.compile(rb"\r\n|\n|\r")  # of a table; Macs of old ended theirs with a carriage return alone


@dataclass(frozen=True)
class Said:
    """A line of metadata: which file, and what of it."""

    name: str  # as it is written
    text: str
    line: int
    source: str = ""  # what may be the name of the picture that it is made from
    label: str | None = None  # its class, a name or a whole number without noughts before it
    no_class: str = ""  # what stands where its class should, and is none


class Told(NamedTuple):
    """A picture, and what metadata say of it."""

    picture: str
    text: str
    source: str | None = None
    label: str | None = None
    no_class: str = ""


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
    """Files by name, in whatever form it is written; with ``bare``, also without its suffix, as tables of ids have."""

    def __init__(self, paths: Sequence[str], bare: bool = False) -> None:
        self.exact = set(paths)
        stems = Counter(path[: path.rfind(".")] for path in paths) if bare else Counter()
        self.whole = {stem: path for path in paths if stems[stem := path[: path.rfind(".")]] == 1}
        self.bare = Lookup(list(self.whole)) if bare else None
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
        stem = None if self.bare is None else self.bare.find(name)
        return None if stem is None else self.whole[stem]


def read_metadata(root: Path, path: str) -> Metadata:
    """A file of metadata: what it says of pictures, and the lines that say nothing."""
    full, found = root / path, Metadata(path)
    if full.stat().st_size > MOST_BYTES:
        found.unread = f"larger than {MOST_BYTES >> 20} MiB: divide the folder"
        return found
    data = read_bytes(full, MOST_BYTES)
    if data.startswith(WIDE):  # what of it is no character stays none, and is refused with its line
        data = data[: len(data) // 2 * 2].decode("utf-16", "surrogatepass").encode("utf-8", "surrogatepass")
    (_read_table if path.lower().endswith(".csv") else _read_lines)(found, data)
    if any(said.text for said in found.said):  # then a line that only tells a class lacks its caption
        for said in found.said:
            if not said.text:
                _refuse(found, said.line, WANTED)
        found.said = [said for said in found.said if said.text]
    return found


def _read_lines(found: Metadata, data: bytes) -> None:
    """One JSON object a line; lines end with a line feed, and with nothing else that Unicode calls an end.

    Lines that tell other things of pictures (boxes) are no captions and no classes: then none is read.
    """
    keys: dict[str, None] = {}  # of all lines, in their order
    for number, raw in enumerate(data.split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            if len(raw) > MOST_LINE:
                raise ValueError(f"longer than {MOST_LINE:,} bytes")
            facts = object_in(decoded(raw))
            keys |= dict.fromkeys(facts)
            _take(found, facts, number)
        except ValueError as error:  # not JSON, or a number too long
            _refuse(found, number, f"not read ({error}): write one JSON object a line")
    if keys and keys.keys().isdisjoint(SAYS + LABELS):
        some = ", ".join(key[:20] for key in list(keys)[:LISTED])
        found.unread = f"its keys are {some}{', ...' * (len(keys) > LISTED)}: file_name, and text or label, are wanted"


def _read_table(found: Metadata, data: bytes) -> None:
    """Rows of a table; the first names its columns. A caption may hold commas and ends of lines, in quotes."""
    lines = END_OF_LINE.split(data)
    try:
        first = decoded(lines[0])
        mark = max(",;\t", key=first.count)
        columns = [name.strip().lower() for name in _row(first, mark)] if first.strip() else []
    except (csv.Error, ValueError) as error:
        found.unread = f"its first line, which should name the columns, is not read: {error}"
        return
    bare = {name.removesuffix(FILE) for name in columns} | set(columns)
    if not (set(NAMES) & bare and set(SAYS + LABELS) & set(columns)):
        found.unread = f"its columns are {', '.join(columns) or 'none'}: file_name, and text or label, are wanted"
        return
    at = 1
    while at < len(lines):
        end = _end_of_row(lines, at)
        raw = b"\n".join(lines[at:end])
        try:
            if raw.strip():
                row = _row(decoded(raw), mark)
                if len(row) != len(columns):
                    raise ValueError(f"{len(row)} values for {len(columns)} columns")
                _take(found, dict(zip(columns, row, strict=True)), at + 1)
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
    """The values of one row; ValueError where the text is not just one."""
    if text.count('"') % 2:
        raise ValueError("quotes that do not end")
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=mark))
    if len(rows) != 1:
        raise ValueError("quotes within a value: double them, and put the value in quotes")
    return rows[0]


def _take(found: Metadata, facts: Mapping[str, Any], number: int) -> None:
    names, sources = _named(facts, NAMES), _named(facts, SOURCES)
    texts = [text for key in SAYS if (text := first_text(facts.get(key))) is not None]
    given = [facts[key] for key in LABELS if facts.get(key) not in (None, "")]
    label = next((spelt for value in given if (spelt := _label(value)) is not None), None)
    no_class = repr(given[0])[:SHOWN] if given and label is None else ""
    if names and not texts and no_class:
        _refuse(found, number, f"label {no_class} is no class: give a name, or a number from 0")
    elif not names or (not texts and label is None):
        _refuse(found, number, WANTED)
    else:
        text = whole(texts[0]) if texts else ""
        found.said.append(Said(names[0], text, number, sources[0] if sources else "", label, no_class))


def _label(value: Any) -> str | None:
    """A class as it is written, a name or a whole number of 0 or more."""
    match value:
        case bool():
            return None
        case int() if value >= 0:
            return str(value)
        case float() if value.is_integer() and value >= 0:
            return str(int(value))
        case str() if name := " ".join(value.split()):
            return str(int(name)) if name.isdecimal() else name
        case _:
            return None


def _named(facts: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """What stands under ``keys``, or under one of them with :data:`FILE` behind."""
    every = (each for key in keys for each in (key, key + FILE))
    return [facts[key] for key in every if isinstance(facts.get(key), str)]


def _refuse(found: Metadata, number: int, why: str) -> None:
    found.skipped.append(Skipped(f"{found.path}, line {number}", why, "metadata"))


def resolve(
    root: Path, files: Sequence[Metadata], pictures: Sequence[str], unusable: Sequence[Skipped] = ()
) -> tuple[list[Told], list[Skipped]]:
    """Every picture that ``files`` name with what is said of it, in their order; and what they name in vain, of which
    some are ``unusable``. Names are relative to a file's folder, or to ``root``, or whole paths."""
    found: list[Told] = []
    skipped: list[Skipped] = []
    if not files:
        return found, skipped
    lookup, others = Lookup(pictures, bare=True), Lookup([one.path for one in unusable], bare=True)
    why = {one.path: one for one in unusable}
    for file in files:
        paired = _names_sources(lookup, root, file)
        for said in file.said:
            if (picture := _find(lookup, root, file, said.name)) is not None:
                source = _find(lookup, root, file, said.source) if paired else None
                if source is not None or not paired:
                    found.append(Told(picture, said.text, source, said.label, said.no_class))
                else:
                    missing = f"its source '{said.source}', named in {file.path}, is no picture that is there"
                    skipped.append(Skipped(picture, missing, "unpaired"))
            elif (path := _find(others, root, file, said.name)) is not None:
                skipped.append(why[path])
            elif not is_inside(root, root / file.folder / said.name):
                skipped.append(Skipped(said.name, OUTSIDE, "outside"))
            else:
                skipped.append(Skipped(said.name, f"named in {file.path}, but no picture is there", "missing"))
        skipped += file.skipped
    return found, skipped


def _names_sources(lookup: Lookup, root: Path, file: Metadata) -> bool:
    """Whether what stands where a source may be named are pictures, of half of the lines at least: others write there
    where a picture was found."""
    named = sum(_find(lookup, root, file, said.source) is not None for said in file.said if said.source)
    return named > 0 and 2 * named >= len(file.said)


def _find(lookup: Lookup, root: Path, file: Metadata, name: str) -> str | None:
    """The one picture that ``name`` in ``file`` means."""
    written = Path(name)
    if written.is_absolute():
        if not is_inside(root, written.parent):
            return None
        return lookup.find(str(written.parent.resolve().relative_to(root) / written.name))
    return lookup.find(file.folder + name) or lookup.find(name)


@dataclass
class Beside:
    """What files of their own say: ``said`` by picture, the pictures (``bad``) whose caption cannot be read, and the
    ``texts`` that were read; or, where captions there are not used, ``unused`` says why."""

    said: dict[str, str] = field(default_factory=dict)
    bad: list[Skipped] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    unused: str = ""


def captions_beside(root: Path, pictures: Sequence[str], texts: Sequence[str]) -> Beside:
    """The captions of ``pictures`` in files of their names.

    None is used where fewer than half of the pictures have one, or most hold nothing but numbers.
    """
    pairs = _texts_of(pictures, [path for path in texts if PurePosixPath(path).suffix.lower() in BESIDE])
    if not pairs:
        return Beside()
    if 2 * len(pairs) < len(pictures):
        return Beside(unused=f"texts of the names of {len(pairs)} are not read: fewer than half of all have one")
    read: dict[str, str] = {}
    bad: list[Skipped] = []
    for picture, path in pairs.items():
        try:
            read[picture] = read_caption(root / path)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            bad.append(Skipped(picture, f"its caption {path} cannot be read: {why}", "metadata"))
    if 2 * sum(map(_only_numbers, read.values())) > len(pairs):
        return Beside(unused="texts of their names hold numbers, and are no captions")
    return Beside(read, bad, list(pairs.values()))


def _texts_of(pictures: Sequence[str], texts: Sequence[str]) -> dict[str, str]:
    """Of each picture the text of its name, ``NAME.txt`` or ``NAME.jpg.txt``, whatever form that is written in."""
    of_stem = {path[: path.rfind(".")]: path for path in texts}  # the last of several
    names = {picture: (picture[: picture.rfind(".")], picture) for picture in pictures}
    found = {picture: of_stem[name] for picture, each in names.items() for name in each if name in of_stem}
    taken = set(found.values())  # a text is of the picture that is called just so before it is another's
    lookup = Lookup([stem for stem, path in of_stem.items() if path not in taken])
    for picture, each in names.items():
        stem = None if picture in found else next(filter(None, map(lookup.find, each)), None)
        if stem is not None:
            found[picture] = of_stem[stem]
    return found


def _only_numbers(text: str) -> bool:
    return NUMBERS.fullmatch(text) is not None and any(map(str.isdigit, text))
