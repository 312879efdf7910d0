"""Every file of a folder, looked at once and put where it belongs: nothing is passed over without a reason.

A link is followed where it leads to something inside the folder, and where the hub's own client keeps downloads to
their files. A folder elsewhere is not: what it holds is listed as not used. A file counts as a picture that cannot be
used (``skipped``) where it is one, in a form that is not read; what nobody would take for one (``ignored``) is listed
too.
"""

from __future__ import annotations

import os
import re
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from stat import S_ISREG

from zeuxis.data.hub_name import COMMIT
from zeuxis.data.picture import SUFFIXES, UNREAD
from zeuxis.data.png_chunks import SIGNATURE
from zeuxis.data.source import Skipped
from zeuxis.data.tables_name import SUFFIX as TABLE_SUFFIX

OUTSIDE = "leads outside the folder: copy the file in"
ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip", ".rar", ".7z", ".tfrecord", ".gz")
TABLE_BESIDE = "a table of Parquet beside pictures, of which those are read: --data parquet:FOLDER reads tables"
COLUMNS = {  # files of other tables of pictures, and how those are read
    ".arrow": "a table of Arrow, as the library datasets saves it: give its rows from Python, zx.train(data=[...])",
}
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"})
SYSTEM_FOLDERS = frozenset(
    {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__"}
)
TEXTS = frozenset({".txt", ".caption", ".jsonl", ".csv"})  # what may say something of pictures
CLASS_FILE = "dataset.json"  # see :mod:`zeuxis.data.class_file`
PROMPTS = "prompt.json"  # see :mod:`zeuxis.data.captions`
SAYING = ("caption", "metadata", "prompt")  # in names of what may say something of pictures
MAGIC = {
    SIGNATURE: "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"RIFF": "WebP",  # and sound: looked at further
}
PAGE = re.compile(r"(?:.+-)?sheet(?:-\d+)?\.png")  # the name of a page of pictures that were drawn together
PAGE_SAYS, PAGE_HEAD = b'"sheet_of": ', 1 << 16  # what its record says, and the bytes of it that are looked at
MOST_ELSEWHERE = 10_000  # files and folders of one folder elsewhere that are looked at


@dataclass
class Survey:
    """What lies in a folder. Paths are relative to ``root`` (resolved), with ``/``, in the order of their names."""

    root: Path
    pictures: list[str] = field(default_factory=list)
    shards: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)  # pictures that cannot be used; folders, with a / behind
    ignored: list[Skipped] = field(default_factory=list)  # all else


def survey(root: Path) -> Survey:
    """What ``root`` (resolved) holds, at any depth. Only names are read, and where they tell nothing, first bytes."""
    found = Survey(root)
    waiting: list[tuple[str, bool]] = [("", False)]  # folders, and whether a link led there
    while waiting:
        folder, linked = waiting.pop()
        entries = _entries(found, folder)
        if entries == []:
            found.ignored.append(Skipped(f"{folder or '.'}/", "an empty folder", "empty"))
        for entry in entries or ():
            path = f"{folder}/{entry.name}" if folder else entry.name
            if _is_folder(entry):
                if _enter(found, path, entry, linked):
                    waiting.append((path, linked or entry.is_symlink()))
            else:
                _place(found, path, entry)
    for paths in (found.pictures, found.shards, found.tables, found.texts):
        paths.sort()
    for listed in (found.skipped, found.ignored):
        listed.sort(key=lambda one: one.path)
    return found


def _entries(found: Survey, folder: str) -> list[os.DirEntry[str]] | None:
    """What lies in a folder; None where that is not to be known."""
    try:
        with os.scandir(found.root / folder) as entries:
            return list(entries)
    except OSError as error:
        reason = f"the folder cannot be looked into ({error.strerror}): what it holds is not known"
        found.skipped.append(Skipped(f"{folder}/", reason, "unreadable"))
        return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that goes in circles
        return False


def _enter(found: Survey, path: str, entry: os.DirEntry[str], linked: bool) -> bool:
    """Whether a folder is looked into; where not, it is listed."""
    if entry.name.startswith(".") or entry.name.lower().startswith("__macosx") or entry.name.lower() in SYSTEM_FOLDERS:
        found.ignored.append(Skipped(f"{path}/", "a hidden or a system's own folder: not looked into", "hidden"))
        return False
    if not entry.is_symlink():
        return True
    target = Path(entry.path).resolve()
    if not target.is_relative_to(found.root):
        _list_elsewhere(found, path, target)
        return False
    if linked or Path(entry.path).parent.resolve().is_relative_to(target):
        found.ignored.append(Skipped(f"{path}/", "a link to a folder that is read already: not followed", "link"))
        return False
    return True


def _list_elsewhere(found: Survey, link: str, folder: Path) -> None:
    """List the pictures of a folder outside that ``link`` leads to: those of its own, which count as they would in a
    class folder of that name, and in one line those deeper. How its folders are called means nothing."""
    own, deeper, more = _looked_into(folder)
    found.skipped += [Skipped(f"{link}/{name}", OUTSIDE, "outside") for name in own]
    if deeper or more:
        count = f"{'more than ' * more}{deeper} pictures in its folders, which are not read"
        found.skipped.append(Skipped(f"{link}/", f"leads outside the folder: copy it in ({count})", "outside"))
    elif not own:
        found.ignored.append(Skipped(f"{link}/", "a link to a folder elsewhere, without pictures", "outside"))


def _looked_into(folder: Path) -> tuple[list[str], int, bool]:
    """Names of the pictures in a folder, how many lie deeper, and whether it holds more than is worth looking at."""
    own: list[str] = []
    waiting, looked, deeper = deque([folder]), 0, 0
    while waiting:
        inside = waiting.popleft()
        try:
            with os.scandir(inside) as entries:
                for entry in entries:
                    if (looked := looked + 1) > MOST_ELSEWHERE:
                        return sorted(own), deeper, True
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    elif PurePosixPath(entry.name).suffix.lower() in SUFFIXES:
                        deeper += inside != folder
                        own += [entry.name] * (inside == folder)
        except OSError:  # what may not be looked into there is not read either
            continue
    return sorted(own), deeper, False


def _place(found: Survey, path: str, entry: os.DirEntry[str]) -> None:
    """Put one file where it belongs."""
    low = entry.name.lower()
    suffix = low[low.rfind(".") :] if "." in low else ""
    if entry.name.startswith(".") or low in SYSTEM_FILES:
        found.ignored.append(Skipped(path, "hidden, or a system's own file", "hidden"))
        return
    shard, picture = low.endswith(".tar"), suffix in SUFFIXES or suffix in UNREAD
    if entry.is_symlink() and not suffix and not Path(entry.path).exists():  # to a folder, by its name: perhaps a class
        found.skipped.append(Skipped(f"{path}/", "a link that leads nowhere: what it should hold is lost", "no file"))
    elif why := _unusable(found.root, Path(entry.path), entry.is_symlink()):
        (found.skipped if picture or shard else found.ignored).append(Skipped(path, *why))
    elif shard:
        found.shards.append(path)
    elif suffix in SUFFIXES:
        if PAGE.fullmatch(low) and _is_page(Path(entry.path)):
            found.ignored.append(
                Skipped(path, "a page of pictures that were drawn together, and none by itself", "page")
            )
        else:
            found.pictures.append(path)
    elif picture:
        reason = f"{suffix[1:].upper()} is not read: convert it to PNG or JPEG"
        found.skipped.append(Skipped(path, reason, "unsupported"))
    elif suffix in TEXTS or low in (CLASS_FILE, PROMPTS):
        found.texts.append(path)
    elif suffix == TABLE_SUFFIX:
        found.tables.append(path)
    elif suffix in COLUMNS:
        found.ignored.append(Skipped(path, COLUMNS[suffix], "table"))
    elif low.endswith(ARCHIVES):
        found.ignored.append(Skipped(path, "an archive: unpack it (shards are plain .tar)", "archive"))
    elif kind := _magic(Path(entry.path)):
        reason = f"holds a {kind}, but its name does not end so: rename it"
        found.skipped.append(Skipped(path, reason, "unsupported"))
    else:
        mend = ": captions are read of metadata.jsonl, metadata.csv and NAME.txt"
        said = suffix == ".json" and any(word in low for word in SAYING)
        found.ignored.append(Skipped(path, f"no picture{mend * said}", "no picture"))


def _is_page(path: Path) -> bool:
    """Whether a PNG says in its record that it shows several pictures at once."""
    try:
        with path.open("rb") as file:
            head = file.read(PAGE_HEAD)
    except OSError:  # which is said where it is decoded
        return False
    return head.startswith(SIGNATURE) and PAGE_SAYS in head


def _unusable(root: Path, path: Path, link: bool) -> tuple[str, str] | None:
    """Why a file cannot be opened, with one word for it."""
    if link and not is_inside(root, path) and not _is_blob(root, path):
        return OUTSIDE, "outside"
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  (Path's own cannot be told from a link that leads nowhere)
    except (OSError, ValueError):
        return "no regular file: a link that leads nowhere", "no file"
    if not S_ISREG(mode):
        return "no regular file: a pipe, a socket or a broken link", "no file"  # would be waited for, for ever
    if not os.access(path, os.R_OK):
        return "may not be read: change its permissions", "unreadable"
    return None


def is_inside(root: Path, path: Path) -> bool:
    """Whether ``path``, with its links followed, is under ``root`` (itself already resolved)."""
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, ValueError, RuntimeError):  # a name that is no name, or links that go in circles
        return False


def _is_blob(root: Path, path: Path) -> bool:
    """Whether a link leads to where the hub's own client keeps the files of the download that ``root`` is (a part of):
    datasets--OWNER--NAME/snapshots/COMMIT/ holds links into datasets--OWNER--NAME/blobs/."""
    for commit in (root, *root.parents):
        home = commit.parent.parent
        if commit.parent.name == "snapshots" and COMMIT.fullmatch(commit.name) and home.name.startswith("datasets--"):
            return is_inside(home / "blobs", path)
    return False


def _magic(path: Path) -> str | None:
    """What kind of picture a file begins like."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return None
    kind = next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)
    return None if kind == "WebP" and head[8:] != b"WEBP" else kind
