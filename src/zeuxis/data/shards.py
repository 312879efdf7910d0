"""WebDataset shards: tar files whose members belong together by name.

    shard-000.tar       000001.jpg 000001.txt 000002.png 000002.cls 000003.jpg 000003.json ...

What comes before the first dot names the example; the rest is what a member is: a picture, a caption (``txt``,
``caption``), a class's number (``cls``), or both in an object (``json``: "text" or "caption", "label" or "cls").
Nothing is unpacked to disk: pictures are read where they lie in the shard.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from zeuxis.data.picture import SUFFIXES
from zeuxis.data.source import Skipped

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


def read_shard(path: Path, skipped: list[Skipped]) -> Mapping[str, Sharded]:
    """The examples of a shard by their names. What comes before damage is used; the rest is skipped."""
    found: dict[str, Sharded] = {}
    try:
        end = path.stat().st_size
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if not member.isreg():
                    continue  # folders; links are never followed
                folder, _, base = member.name.rpartition("/")
                key, _, kind = base.partition(".")
                if not key or member.offset_data + member.size > end:
                    continue
                example = found.setdefault(f"{folder}/{key}" if folder else key, Sharded())
                file = tar.extractfile(member)
                assert file is not None  # it is a regular file
                _take(example, path, member, kind.lower(), file, skipped)
    except (tarfile.TarError, EOFError, OSError, UnicodeError) as error:
        skipped.append(Skipped(path.name, f"damaged after {len(found)} examples: {error}", "damaged"))
    return found


def _take(
    example: Sharded, shard: Path, member: tarfile.TarInfo, kind: str, file: IO[bytes], skipped: list[Skipped]
) -> None:
    """Note what one member adds to its example."""
    if f".{kind}" in SUFFIXES:
        example.pictures[member.name] = Member(shard, member.offset_data, member.size)
    elif kind in ("txt", "caption", "cls", "json"):
        try:
            _read(example, kind, file.read(MOST_TEXT).decode("utf-8"))
        except ValueError as error:  # not UTF-8, not JSON, or not a number
            skipped.append(Skipped(f"{shard.name}/{member.name}", f"cannot be read: {error}", "damaged"))


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
