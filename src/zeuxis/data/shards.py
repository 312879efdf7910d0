"""WebDataset shards: tar files whose members belong together by name.

    shard-000.tar       000001.jpg 000001.txt 000002.png 000002.cls 000003.jpg 000003.json ...

What comes before the first dot names the example; the rest is what a member is: a picture, a caption (``txt``,
``caption``), a class's number (``cls``), or both in an object (``json``: "text" or "caption", "label" or "cls").
Nothing is unpacked to disk: pictures are read where they lie in the shard.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from zeuxis.data.picture import SUFFIXES, UNREAD
from zeuxis.data.source import Skipped
from zeuxis.data.tar import Lost, TarMember, members

MOST_TEXT = 1 << 16  # bytes of a caption or an object
MOST_CLASSES = 100_000
CAPTIONS, LABELS = ("text", "caption"), ("label", "cls")  # keys of the object


@dataclass(frozen=True)
class Member:
    """Where a picture lies: ``size`` bytes of a shard, from ``offset`` on."""

    shard: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """The picture's file."""
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


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
        skipped.append(Skipped(shown, f"damaged after {len(found)} examples: {error}", "damaged"))
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
            _read(example, kind, file.read(min(member.size, MOST_TEXT)).decode("utf-8"))
        except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested too deep, or not a number
            skipped.append(Skipped(f"{shown}/{member.name}", f"cannot be read: {error}", "damaged"))
    else:
        picture = f".{kind.rpartition('.')[2]}" in SUFFIXES | UNREAD
        reason = f"members .{kind} are not read: " + ("convert it to PNG or JPEG" if picture else "no picture, no text")
        skipped.append(Skipped(f"{shown}/{member.name}", reason, "unsupported" if picture else "no picture"))


def _read(example: Sharded, kind: str, text: str) -> None:
    if kind == "cls":
        example.label = _class(int(text))
    elif kind == "json":
        facts: Any = json.loads(text)
        if not isinstance(facts, dict):
            raise ValueError("no JSON object")
        captions = [facts[key] for key in CAPTIONS if isinstance(facts.get(key), str)]
        labels = [facts[key] for key in LABELS if isinstance(facts.get(key), int)]
        example.caption = captions[0] if captions else example.caption
        example.label = _class(labels[0]) if labels else example.label
    else:
        example.caption = text.strip()


def _class(number: int) -> int:
    if not 0 <= number < MOST_CLASSES:
        raise ValueError(f"{number} is no class from 0 to {MOST_CLASSES - 1}")
    return number
