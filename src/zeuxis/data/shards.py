"""WebDataset shards: tar files whose members belong together by name.

    shard-000.tar       000001.jpg 000001.txt 000002.png 000002.cls 000003.jpg 000003.json ...

What comes before the first dot names the example; the rest is what a member is: a picture, a caption (``txt``,
``caption``), a class's number (``cls``), or both in an object (``json``: "text" or "caption", "label" or "cls").
Nothing is unpacked to disk: pictures are read where they lie in the shard.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO

from zeuxis.data.picture import SUFFIXES, UNREAD
from zeuxis.data.source import Skipped
from zeuxis.data.tar import Lost, TarMember, members
from zeuxis.data.texts import MOST_TEXT, caption_of, first_text, object_in, whole
from zeuxis.files import spelt_error

MOST_CLASSES = 100_000
CLASS = re.compile(r"\+?[0-9]{1,9}")  # its number, as a member of its own spells it
CAPTIONS, LABELS = ("text", "caption"), ("label", "cls")  # keys of the object


@dataclass(frozen=True)
class Member:
    """Where a picture lies: ``size`` bytes of a shard, from ``offset`` on."""

    shard: Path
    offset: int
    size: int

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The picture's file: a window on the shard, of which as much is read as its reader asks for."""
        with self.shard.open("rb") as file, io.BufferedReader(_Window(file, self.offset, self.size)) as window:
            yield window


class _Window(io.RawIOBase):
    """``size`` bytes of ``file``, from ``start`` on, as a file that can be read alone."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self.file, self.start, self.size, self.at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence]
        if at < 0:
            raise ValueError(f"there is no byte {at} of a file")
        self.at = at
        return at

    def readinto(self, buffer: Any) -> int:
        wanted = max(0, min(len(buffer), self.size - self.at))
        self.file.seek(self.start + self.at)
        found = self.file.read(wanted)
        buffer[: len(found)] = found
        self.at += len(found)
        return len(found)


@dataclass
class Sharded:
    """One example of a shard, as far as it was read."""

    pictures: dict[str, Member] = field(default_factory=dict)  # by the member's name
    caption: str | None = None
    label: int | None = None


def read_shard(path: Path, shown: str, skipped: list[Skipped]) -> Mapping[str, Sharded]:
    """The examples of a shard (in lists: ``shown``) by their names. Of members of one name the last counts.

    Damage costs the members that it touches; those, and what is no picture and says nothing of one, are listed.
    """
    found: dict[str, Sharded] = {}
    taken: dict[str, TarMember] = {}
    try:
        for member in members(path):
            if isinstance(member, Lost):
                name = f"{shown}/{member.name}" if member.name else f"{shown}, byte {member.offset}"
                skipped.append(Skipped(name, member.reason, "damaged"))
            elif member.regular:
                if member.name in taken:
                    skipped.append(
                        Skipped(f"{shown}/{member.name}", "repeated: the last of that name is used", "repeated")
                    )
                taken[member.name] = member
            elif not member.folder:
                reason = "a link or a device within the shard: never followed"
                skipped.append(Skipped(f"{shown}/{member.name}", reason, "no file"))
        with path.open("rb") as file:
            for member in taken.values():
                _take(found, path, shown, member, file, skipped)
    except OSError as error:
        skipped.append(Skipped(shown, f"damaged after {len(found)} examples: {spelt_error(error, path)}", "damaged"))
    return found


def _take(
    found: dict[str, Sharded], shard: Path, shown: str, member: TarMember, file: IO[bytes], skipped: list[Skipped]
) -> None:
    """Note what one member adds to its example."""
    folder, _, base = member.name.rpartition("/")
    key, _, kind = base.partition(".")
    kind = kind.lower()
    if not key:
        skipped.append(Skipped(f"{shown}/{member.name}", "a hidden file", "hidden"))
    elif f".{kind}" in SUFFIXES or kind in ("txt", "caption", "cls", "json"):
        example = found.setdefault(f"{folder}/{key}" if folder else key, Sharded())
        if f".{kind}" in SUFFIXES:
            example.pictures[member.name] = Member(shard, member.offset, member.size)
            return
        try:
            file.seek(member.offset)
            _read(example, kind, caption_of(file.read(min(member.size, MOST_TEXT + 1))))
        except NoClass as error:  # of an object: what else it says is used
            skipped.append(Skipped(f"{shown}/{member.name}", f"not used as a class: {error}", "text"))
        except ValueError as error:  # not UTF-8, too long, not JSON, or not a number
            skipped.append(Skipped(f"{shown}/{member.name}", f"cannot be read: {error}", "damaged"))
    else:
        last = f".{kind.rpartition('.')[2]}"
        picture, mend = last in SUFFIXES | UNREAD, "no picture, no text"
        if picture:  # of NAME.lr.png the kind is "lr.png"
            mend = f"of an example the picture {key}{last} is" if last in SUFFIXES else "convert it to PNG or JPEG"
        reason = f"members .{kind} are not read: {mend}"
        skipped.append(Skipped(f"{shown}/{member.name}", reason, "unsupported" if picture else "no picture"))


class NoClass(Exception):
    """An object's label is not the number of a class."""


def _read(example: Sharded, kind: str, text: str) -> None:
    if kind == "cls":
        if not CLASS.fullmatch(text) or int(text) >= MOST_CLASSES:
            raise ValueError(_no_class(text))
        example.label = int(text)
    elif kind == "json":
        facts = object_in(text)
        captions = [said for key in CAPTIONS if (said := first_text(facts.get(key))) is not None]
        labels = [facts[key] for key in LABELS if facts.get(key) is not None]
        example.caption = whole(captions[0]).strip() if captions else example.caption
        if labels:
            if type(labels[0]) is not int or not 0 <= labels[0] < MOST_CLASSES:  # True is no number of a class
                raise NoClass(_no_class(labels[0]))
            example.label = labels[0]
    else:
        example.caption = text


def _no_class(label: Any) -> str:
    return f"{str(label)[:40]!r} is no number from 0 to {MOST_CLASSES - 1}"
