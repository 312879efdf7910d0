"""Which files are restored, and where what is made of them goes."""

from __future__ import annotations

import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from zeuxis.data.picture import SUFFIXES, UNREAD
from zeuxis.errors import DataError, NoSuchPath, UsageError, mend_of
from zeuxis.files import remove_drafts
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

    def is_there(self) -> bool:
        """Whether a file is at the place of the result; raises :class:`UsageError` where none can be."""
        try:
            self.target.stat()
        except FileNotFoundError:
            return False
        except OSError as error:  # the name is too long, or a file is where a folder should be
            mend = mend_of(error, "give another --out")
            raise UsageError(f"{self.source}: its result cannot be {self.target}: {error.strerror}; {mend}") from None
        return True


@dataclass(frozen=True)
class Errands:
    """All pictures in order, the files among them that are none, and where a page about them would be."""

    each: tuple[Errand, ...]
    others: tuple[Path, ...]
    page: Path
    folders: bool  # whether a folder was given

    def sweep(self) -> None:
        """Remove what a kill in the middle of a result has left where results go."""
        for folder in {errand.target.parent for errand in self.each}:
            if folder.is_dir():
                remove_drafts(folder, time.time())

    def outside(self, masks: Path) -> Errands:
        """All but the pictures in a folder of masks, which may lie inside that of the pictures.

        Raises :class:`UsageError` where there are no others.
        """
        inside = masks.resolve()
        folders = [errand.source.parent.resolve() for errand in self.each]
        each = tuple(
            errand
            for errand, folder in zip(self.each, folders, strict=True)
            if inside != folder and inside not in folder.parents
        )
        if not each:
            raise UsageError(
                f"{masks} is the folder of masks, and there is no picture beside it: give the pictures' own"
            )
        return replace(self, each=each)

    @property
    def passed_over(self) -> tuple[str, ...]:
        """A line for each file that is not looked into, with the mend of those that are pictures all the same."""
        return tuple(f"{file}: {_why_not(file)}" for file in self.others)


def paths_of(given: Sequence[str | Path]) -> list[Path]:
    """The paths that were given; an empty one, as an unset variable of a shell leaves it, is not the folder here."""
    if "" in given:
        raise UsageError("one of the paths is empty: name a picture or a folder (. is the folder where you are)")
    return [Path(path) for path in given]


def errands_of(paths: Sequence[Path], out: Path | None, made: Literal["restored", "translated"]) -> Errands:
    """What is to be done for the files and folders ``paths``, with results in ``out`` or beside them.

    Folders are walked; names that begin with a dot are passed over, as are ``out`` inside them and what was ``made``
    there before: the word is in the names of results. So are a file that is given twice, and results of this very call
    that are given beside their pictures, as ``*.png`` does the second time.

    Raises :class:`UsageError` where a path does not exist, or ``out`` is no place for results.
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
    given: set[Path] = set()  # files, as they are told apart
    for path in paths:
        if not path.is_dir():
            if _resolved(path) in given:
                continue
            given.add(_resolved(path))
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
    again = given & {_resolved(target.with_name(f"{target.name}{RESULT}")) for _, target, _ in found}
    each = _named_apart([one for one in found if _resolved(one[0]) not in again or not _is_made(one[0], made)])
    if file_out and out is not None:
        each = tuple(replace(one, target=out) for one in each)  # with its suffix as it is written, .PNG too
    if not each:
        told = (file for file in others if file.is_dir() or file.suffix.lower() in UNREAD)
        unread = next((f": {file.name}, {_why_not(file)}" for file in told), "")
        raise UsageError(f"there is no picture in {', '.join(map(str, paths))}{unread}")
    return Errands(each, tuple(others), _page(paths, out, each, made), folders)


def _resolved(path: Path) -> Path:
    """Where a path leads; one that leads round in a circle stays as it is."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def _why_not(file: Path) -> str:
    if file.is_dir():
        if file.is_symlink():
            return "a link to a folder, which is not followed: give that by itself"
        return "a folder that may not be read: look at its permissions"
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

    Links to folders are given as they are, and not walked: they may lead round in a circle. So are folders that may not
    be read. Links that lead nowhere are files that cannot be read.
    """
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        yield folder
        return
    for path in inside:
        if path.name.startswith(".") or (path.is_dir() and path.resolve() == without):
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
    """``photo.jpg`` and ``photo.tif`` give ``photo-jpg.png`` and ``photo-tif.png``: no result replaces another.

    Names that differ in capitals alone are one to many systems, and so are two spellings of the same letters. A picture
    that shares its name with none keeps it; where ``photo-jpg.png`` is such a one, ``photo-jpg-2.png`` is made.
    """
    count = Counter(_one_file(target) for _, target, _ in found)
    taken = {name for name, many in count.items() if many == 1}
    names = _called_apart([(source, name) for source, _, name in found])
    made = []
    for (source, target, _), name in zip(found, names, strict=True):
        file = target
        if count[_one_file(target)] > 1:
            stem, k = f"{target.name}-{source.suffix[1:].lower()}", 1
            file = target.with_name(stem)
            while _one_file(file) in taken:
                k += 1
                file = target.with_name(f"{stem}-{k}")
            taken.add(_one_file(file))
        made.append(Errand(source, file.with_name(f"{file.name}{RESULT}"), name))
    return tuple(made)


def _one_file(path: Path) -> str:
    """The path as systems see it to which capitals and the spelling of letters with strokes are nothing."""
    return unicodedata.normalize("NFC", str(path)).casefold()


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
