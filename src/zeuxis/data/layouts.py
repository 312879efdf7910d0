"""The folder layouts that people already use, each recognised by what lies in the folder.

    metadata.jsonl      lines of {"file_name": ..., "text": ...}: captions
    gt/ lq/             pairs of the same name: image and degraded source
    A/ B/               pairs of the same name: source and image
    images/ masks/      pictures, and masks of the same name that are light where there is something
    AB/                 aligned pairs side by side: source left, image right
    *.tar               WebDataset shards (`zeuxis.data.shards`), where no pictures lie beside them
    NAME/ NAME/ ...     two or more folders of pictures and none beside them: a class each
    anything else       pictures, at any depth

Files are listed in the order of their names. Links that lead out of the folder are never followed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from zeuxis.data.picture import SUFFIXES
from zeuxis.data.shards import Member, read_shard
from zeuxis.data.source import Skipped
from zeuxis.errors import DataError

OUTSIDE = "leads outside the folder: copy the file in"


@dataclass(frozen=True)
class Example:
    """The files and facts of one example. Paths are relative to the folder."""

    image: str
    source: str | None = None
    mask: str | None = None
    beside: bool = False  # image and source are the right and left half of one file
    label: int | None = None
    caption: str | None = None


@dataclass
class Listing:
    """What a folder holds."""

    examples: list[Example] = field(default_factory=list)
    class_names: tuple[str, ...] = ()
    skipped: list[Skipped] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)  # of examples in shards, by the name of the image

    def file(self, root: Path, name: str) -> Path:
        """The file on disk that holds the picture ``name``."""
        return self.members[name].shard if name in self.members else root / name

    def files(self, root: Path) -> list[Path]:
        """The files on disk of all examples, in order."""
        names = [name for e in self.examples for name in (e.image, e.source, e.mask) if name is not None]
        return [self.file(root, name) for name in names]


def walk(root: Path, inside: Path, skipped: list[Skipped]) -> list[str]:
    """Picture files under ``inside``, relative to ``root``, by name; hidden files and folders are passed over."""
    found: list[str] = []
    for folder, folders, files in os.walk(inside):  # does not descend into linked folders
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in files:
            path = Path(folder, name)
            if path.suffix.lower() not in SUFFIXES or name.startswith("."):
                continue
            relative = path.relative_to(root).as_posix()
            if not is_inside(root, path):
                skipped.append(Skipped(relative, OUTSIDE, "outside"))
            elif not os.path.isfile(path):  # noqa: PTH113  (never raises) A pipe would be waited for, for ever.
                skipped.append(Skipped(relative, "no regular file: a pipe, a socket or a broken link", "no file"))
            else:
                found.append(relative)
    return sorted(found)


def is_inside(root: Path, path: Path) -> bool:
    """Whether ``path``, with its links followed, is under ``root`` (itself already resolved)."""
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, ValueError, RuntimeError):  # a name that is no name, or links that go in circles
        return False


def with_metadata(root: Path, classes: Sequence[str]) -> Listing | None:
    """Captions from ``metadata.jsonl``; only the files that it names are used."""
    path = root / "metadata.jsonl"
    if not path.is_file():
        return None
    listing = Listing()
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        name, text = _metadata_line(line, f"{path}, line {number}")
        if not is_inside(root, root / name):
            listing.skipped.append(Skipped(name, OUTSIDE, "outside"))
        elif not os.path.isfile(root / name):  # noqa: PTH113  (never raises, unlike the method of Path)
            listing.skipped.append(Skipped(name, "named in metadata.jsonl, but not there", "missing"))
        else:
            listing.examples.append(Example((root / name).relative_to(root).as_posix(), caption=text))
    return listing


def _metadata_line(line: str, where: str) -> tuple[str, str]:
    try:
        fact = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error}): write one object a line") from error
    if (
        not isinstance(fact, dict)
        or not isinstance(fact.get("file_name"), str)
        or not isinstance(fact.get("text"), str)
    ):
        raise DataError(f'{where}: wants {{"file_name": "...", "text": "..."}} with two strings')
    return fact["file_name"], fact["text"]


def _paired(image: str, other: str, role: Literal["source", "mask"]) -> Callable[[Path, Sequence[str]], Listing | None]:
    """The layout of two folders whose pictures have the same names (suffixes may differ); ``role`` is the other's."""

    def layout(root: Path, classes: Sequence[str]) -> Listing | None:
        if not ((root / image).is_dir() and (root / other).is_dir()):
            return None
        listing = Listing()
        by_stem: list[dict[str, str]] = []
        for part in (image, other):
            files = walk(root, root / part, listing.skipped)
            by_stem.append({Path(file).relative_to(part).with_suffix("").as_posix(): file for file in files})
        images, others = by_stem
        for stem in sorted(images.keys() & others.keys()):
            named = {role: others[stem]}
            listing.examples.append(Example(images[stem], source=named.get("source"), mask=named.get("mask")))
        for stem in sorted(images.keys() ^ others.keys()):
            missing = other if stem in images else image
            listing.skipped.append(Skipped({**images, **others}[stem], f"no partner in {missing}/", "unpaired"))
        return listing

    return layout


def side_by_side(root: Path, classes: Sequence[str]) -> Listing | None:
    """``AB/``: two pictures in one file."""
    if not (root / "AB").is_dir():
        return None
    listing = Listing()
    listing.examples = [Example(file, beside=True) for file in walk(root, root / "AB", listing.skipped)]
    return listing


def class_folders(root: Path, classes: Sequence[str]) -> Listing | None:
    """A folder per class. ``classes`` are the names that count, where another split has settled them."""
    listing = Listing()
    files = walk(root, root, listing.skipped)
    tops = {file: file.partition("/")[0] for file in files if "/" in file}
    names = tuple(classes) or tuple(sorted(set(tops.values())))
    if len(tops) < len(files) or len(names) < 2:
        return None
    numbers = {name: k for k, name in enumerate(names)}
    for file in files:
        if tops[file] in numbers:
            listing.examples.append(Example(file, label=numbers[tops[file]]))
        else:
            listing.skipped.append(Skipped(file, f"its class '{tops[file]}' is not among those to train on"))
    listing.class_names = names
    return listing


def shards(root: Path, classes: Sequence[str]) -> Listing | None:
    """Tar files of pictures with captions or classes."""
    tars = sorted(path for path in root.glob("*.tar") if is_inside(root, path) and path.is_file())
    if not tars or walk(root, root, []):
        return None
    listing = Listing()
    for tar in tars:
        for key, found in sorted(read_shard(tar, listing.skipped).items()):
            if len(found.pictures) != 1:
                reason = "several pictures of one name" if found.pictures else "no picture of that name"
                listing.skipped.append(Skipped(f"{tar.name}/{key}", reason, "unpaired"))
                continue
            ((inside, member),) = found.pictures.items()
            name = f"{tar.name}/{inside}"
            listing.members[name] = member
            listing.examples.append(Example(name, label=found.label, caption=found.caption))
    labels = [e.label for e in listing.examples if e.label is not None]
    if labels:
        without = [e.image for e in listing.examples if e.label is None]
        listing.skipped += [Skipped(name, "no class, where others have one", "unpaired") for name in without]
        listing.examples = [e for e in listing.examples if e.label is not None]
        listing.class_names = tuple(map(str, range(max(labels) + 1)))
    return listing


def flat_folder(root: Path, classes: Sequence[str]) -> Listing:
    """Pictures, and nothing known of them."""
    listing = Listing()
    listing.examples = [Example(file) for file in walk(root, root, listing.skipped)]
    return listing


SPECIAL = (
    with_metadata,
    _paired("gt", "lq", "source"),
    _paired("B", "A", "source"),
    _paired("images", "masks", "mask"),
    side_by_side,
    shards,
    class_folders,
)


def list_folder(root: Path, classes: Sequence[str] = ()) -> Listing:
    """What ``root`` (resolved) holds, by the first layout that recognises it."""
    found = (layout(root, classes) for layout in SPECIAL)
    return next((listing for listing in found if listing is not None), None) or flat_folder(root, ())
