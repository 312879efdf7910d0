"""Which files are restored, and where what is made of them goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from zeuxis.data.picture import SUFFIXES, UNREAD
from zeuxis.errors import DataError, NoSuchPath, UsageError
from zeuxis.provenance.record import RESTORER, read_record

RESULT = ".png"  # the format that carries a record
TRANSLATED = "translated_from"  # the key in the record of a translated picture that names its file
BEFORE, AFTER = ".before.png", ".after.png"  # how the files end of the parts of a picture that a page shows


@dataclass(frozen=True)
class Errand:
    """A picture and the file of its result; ``name`` is how people may call it, and is no other errand's."""

    source: Path
    target: Path
    name: str


@dataclass(frozen=True)
class Errands:
    """All pictures in order, the files among them that are none, and where a page about them would be."""

    each: tuple[Errand, ...]
    others: tuple[Path, ...]
    page: Path
    folders: bool  # whether a folder was given

    @property
    def passed_over(self) -> tuple[str, ...]:
        """A line for each file that is not looked into, with the mend of those that are pictures all the same."""
        return tuple(f"{file}: {_why_not(file)}" for file in self.others)


def errands_of(paths: Sequence[Path], out: Path | None, made: Literal["restored", "translated"]) -> Errands:
    """What is to be done for the files and folders ``paths``, with results in ``out`` or beside them.

    Folders are walked; names that begin with a dot are passed over, as are ``out`` inside them and what was ``made``
    there before: the word is in the names of results.

    Raises :class:`UsageError` where a path does not exist, ``out`` is no place for results, or two would share a file.
    """
    for path in paths:
        if not path.exists():
            raise NoSuchPath("picture or folder", path)
    folders = any(path.is_dir() for path in paths)
    alone = len(paths) == 1 and not folders
    if out is not None:
        _check_out(out, alone)
    file_out = out is not None and alone and bool(out.suffix) and not out.is_dir()
    found: list[tuple[Path, Path, str]] = []  # picture, result without its suffix, name
    others: list[Path] = []
    for path in paths:
        if not path.is_dir():
            if out is None:
                found.append((path, path.with_name(f"{path.stem}-{made}"), path.name))
            else:  # a folder may have a dot in its name
                found.append((path, out.with_suffix("") if file_out else out / path.stem, path.name))
            continue
        root = out if out is not None else path.resolve().with_name(f"{path.resolve().name}-{made}")
        if root.resolve() == path.resolve():
            raise UsageError(f"--out {root} is the folder of the originals: give another")
        if out is not None and len(paths) > 1:
            root = out / path.resolve().name
        for file in _walk(path, root.resolve()):
            if file.suffix.lower() not in SUFFIXES or file.is_dir():
                others.append(file)
            elif not _is_made(file, made):
                inside = file.relative_to(path)
                found.append((file, root / inside.with_suffix(""), inside.as_posix()))
    each = _named_apart(found)
    if file_out and out is not None:
        each = tuple(replace(one, target=out) for one in each)  # with its suffix as it is written, .PNG too
    if not each:
        unread = next((f": {file.name}, {_why_not(file)}" for file in others if file.suffix.lower() in UNREAD), "")
        raise UsageError(f"there is no picture in {', '.join(map(str, paths))}{unread}")
    return Errands(each, tuple(others), _page(paths, out, each, made), folders)


def _why_not(file: Path) -> str:
    if file.is_dir():
        return "a link to a folder, which is not followed: give that by itself"
    if file.suffix.lower() not in UNREAD:
        return "not a picture"
    return f"{file.suffix[1:].upper()} is not read: convert it to PNG or JPEG"


def _check_out(out: Path, alone: bool) -> None:
    if not alone and (out.is_file() or out.suffix.lower() in SUFFIXES):
        raise UsageError(f"--out {out} is a file, and there are several results: give a folder")
    if alone and out.suffix and out.suffix.lower() != RESULT and not out.is_dir():
        raise UsageError(
            f"--out {out}: results are PNG, which carries the record of how they were made: end it in .png"
        )


def _walk(folder: Path, without: Path) -> Iterator[Path]:
    """The files of a folder and of those inside it, in order, without hidden ones and those of ``without``.

    Links to folders are given as they are, and not walked: they may lead round in a circle. Links that lead nowhere are
    files that cannot be read.
    """
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.resolve() == without:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, without)
        elif path.is_file() or path.is_symlink():
            yield path


def _is_made(file: Path, made: str) -> bool:
    """Whether a file was so made: a result, or a part of a picture that a page shows."""
    if file.name.endswith(BEFORE):
        file = file.with_name(file.name.removesuffix(BEFORE) + AFTER)
    if file.suffix.lower() != RESULT:
        return False
    try:
        found = read_record(file)
        return bool(found["system"] == RESTORER if made == "restored" else TRANSLATED in found)
    except (UsageError, DataError):  # an original, or damaged, which is told when it is opened
        return False


def _named_apart(found: Sequence[tuple[Path, Path, str]]) -> tuple[Errand, ...]:
    """``photo.jpg`` and ``photo.tif`` give ``photo-jpg.png`` and ``photo-tif.png``: no result replaces another."""
    count: dict[Path, int] = {}
    for _, target, _ in found:
        count[target] = count.get(target, 0) + 1
    made: dict[Path, Errand] = {}
    names = _called_apart([(source, name) for source, _, name in found])
    for (source, target, _), name in zip(found, names, strict=True):
        kind = f"-{source.suffix[1:].lower()}" if count[target] > 1 else ""
        file = target.with_name(f"{target.name}{kind}{RESULT}")
        if file in made:
            raise UsageError(f"{made[file].source} and {source} would both become {file}: give them one by one")
        made[file] = Errand(source, file, name)
    return tuple(made.values())


def _called_apart(found: Sequence[tuple[Path, str]]) -> list[str]:
    """A name for each picture that no other has: its own, with as many of the folders around it as that takes."""
    names = [name for _, name in found]
    around = [(*source.parent.resolve().parts[1:], source.name) for source, _ in found]
    for _ in range(max(map(len, around), default=0)):
        count = Counter(names)
        for k, parts in enumerate(around):
            if count[names[k]] > 1:
                names[k] = "/".join(parts[-2 - names[k].count("/") :])
    return names


def _page(paths: Sequence[Path], out: Path | None, each: Sequence[Errand], made: str) -> Path:
    """Beside the result of one picture, otherwise in the folder of all results."""
    if len(each) == 1 and not paths[0].is_dir():
        return each[0].target.with_suffix(".html")
    if out is not None:
        return out / "index.html"
    first = paths[0].resolve()
    return first.with_name(f"{first.name}-{made}") / "index.html" if first.is_dir() else first.parent / f"{made}.html"
