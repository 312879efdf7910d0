"""Opening files that anyone may have written, and making files that appear whole.

Only regular files are opened: a pipe would be waited for, a device has no end. What is read at once is bounded. A
draft of a file or a folder carries the process that makes it in its name, so that what a kill leaves is recognised.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import Any

MOST_TEXT = 64 << 20  # bytes of a card, a table, a log: a larger one is not ours
WAITING = getattr(os, "O_NONBLOCK", 0)  # so that a pipe put in a file's place is not waited for
BINARY = getattr(os, "O_BINARY", 0)  # of Windows
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
NO_WEIGHTS = {  # how files begin that are often called as weights are, and what they are
    b"version https://git-lfs": "it is a pointer of Git LFS, not the weights: git lfs pull fetches those",
    b"<": "it is a web page, not the weights: fetch the file that the page links to",
    b"\x93numpy": "it is one array of numpy, not the weights of a network",
}
NO_TENSORS = NO_WEIGHTS | {  # the same of those called *.safetensors
    b"pk\x03\x04": "it is a checkpoint of PyTorch under another name: call it *.ckpt, and give it to zeuxis convert",
    b"\x80\x02": "it is a checkpoint of PyTorch under another name: call it *.ckpt, and give it to zeuxis convert",
}
OTHER_FORMATS = {  # in which networks are published beside PyTorch's own, and how they are called
    ".onnx": "ONNX",
    ".tflite": "TensorFlow's",
    ".pb": "TensorFlow's",
    ".h5": "Keras'",
    ".keras": "Keras'",
    ".engine": "TensorRT's",
    ".trt": "TensorRT's",
    ".mlmodel": "Core ML's",
    ".mlpackage": "Core ML's",
    ".t7": "Lua Torch's",
}
DRAFT = re.compile(r"\.draft-(?:(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]+|[a-z0-9_]{8})")
FORGOTTEN = 86_400  # seconds after which a draft is left behind that does not say whose it is (of older versions)


# -- reading ------------------------------------------------------------------------------------------


def at_home(path: str | Path) -> Path:
    """The path of which a ``~`` at the beginning is the home; where nobody is called so it is a name like another."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def without_home(text: str) -> str:
    """``text`` with a ``~`` for the home wherever a path in it begins so: what is passed on names no user.

    :func:`at_home` reads a path that begins so. Where nobody has a home, or the whole disk is one, nothing changes.
    """
    try:
        home = Path.home()
        places = {str(place) for place in (home, home.resolve()) if len(place.parts) > 1}
    except (OSError, RuntimeError):
        return text
    for place in sorted(places, key=len, reverse=True):
        text = re.sub(rf"(?<![\w./\\-]){re.escape(place)}(?=[/\\\s]|$)", "~", text)
    return text


def require_regular(path: Path) -> os.stat_result:
    """What the system says of the file at ``path``, which links may lead to.

    Raises OSError where there is none, and where it is a folder, a pipe, a device or a socket.
    """
    try:
        found = path.stat()
    except ValueError as error:  # a null character
        raise OSError(errno.EINVAL, f"this is no name of a file ({error})", str(path)) from None
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, f"it is {KINDS.get(stat.S_IFMT(found.st_mode), 'no file')}, not a file", str(path))
    return found


def open_regular(path: Path) -> BufferedReader:
    """The regular file at ``path``, to be read; raises as :func:`require_regular`, and never waits."""
    require_regular(path)
    handle = os.open(path, os.O_RDONLY | WAITING | BINARY)
    if not stat.S_ISREG(os.fstat(handle).st_mode):  # it was replaced since
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no file any more", str(path))
    return os.fdopen(handle, "rb")


def read_bytes(path: Path, most: int = MOST_TEXT) -> bytes:
    """All of a regular file; OSError where it has more than ``most`` bytes."""
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most >> 20} MiB", str(path))
    return content


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """A regular file as text, without the mark of UTF-8 that some editors begin it with.

    Raises OSError as :func:`read_bytes`, and ValueError where it is no UTF-8.
    """
    return read_bytes(path, most).decode("utf-8-sig")


def read_table(path: Path, most: int = MOST_TEXT) -> dict[str, Any]:
    """The object in a file of JSON; raises OSError as :func:`read_bytes`, and ValueError where there is none."""
    try:
        found = json.loads(read_text(path, most))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("it holds no table")
    return found


def spelt_error(error: Exception, told: Path | None = None) -> str:
    """What went wrong in words: of an error of the system its reason, without its number, and the file unless that is
    ``told`` anyway."""
    if isinstance(error, OSError) and error.strerror is not None:
        return error.strerror if error.filename in (None, str(told)) else f"{error.filename}: {error.strerror}"
    return str(error)


def why_no_tensors(path: Path, error: Exception) -> str:
    """Why ``path`` could not be read as safetensors, which ``error`` says, and what it is if it is told by how it
    begins: what is taken for weights is often a pointer to them, or the page that links to them."""
    try:
        start = _start(path)
    except OSError:
        return spelt_error(error, path)
    if (what := _told_by(start, NO_TENSORS)) is not None:
        return what
    if not start:
        return "it is empty: fetch it again"
    end = ": its end is missing, fetch it again" if "not fully covered" in str(error) else ""
    return spelt_error(error, path) + end


def why_no_weights(path: Path) -> str | None:
    """What a file is that is no checkpoint of any kind; None where that is not known."""
    return _told_by(_start(path), NO_WEIGHTS) or other_format(path)


def other_format(path: Path) -> str | None:
    """What a file is whose name says that another program reads it; None of others."""
    kind = OTHER_FORMATS.get(path.suffix.lower())
    return None if kind is None else f"it is {kind}, which is not read: give the checkpoint of PyTorch it was made of"


def _start(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read(64)


def _told_by(start: bytes, kinds: Mapping[bytes, str]) -> str | None:
    return next((what for first, what in kinds.items() if start.lstrip().lower().startswith(first)), None)


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """The digest of a regular file, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


# -- names --------------------------------------------------------------------------------------------

MOST_NAME = 100  # characters, so that what is put before and behind still fits
NUMBERED = tuple(f"{device}{number}" for device in ("com", "lpt") for number in "0123456789¹²³")
DEVICES = frozenset(("con", "prn", "aux", "nul", "conin$", "conout$", *NUMBERED))  # of Windows


def why_no_name(name: str) -> str | None:
    """Why files and folders cannot be called ``name`` on every system; None where they can."""
    if not name or len(name) > MOST_NAME:
        return f"a name has from 1 to {MOST_NAME} characters"
    if re.search(r'[\x00-\x1f\x7f/\\:*?"<>|]', name) or any(0xD800 <= ord(c) < 0xE000 for c in name):
        return 'a name holds none of / \\ : * ? " < > | and no control codes'
    if name[0] in ".- " or name[-1] in ". ":
        return "a name begins with no full stop, hyphen or space, and ends with no full stop or space"
    if name.partition(".")[0].rstrip().lower() in DEVICES:
        return "it is the name of a device"
    return None


def is_utf8(path: Path) -> bool:
    """Whether the name of ``path`` is UTF-8; those of other bytes are kept in halves of surrogate pairs."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


# -- drafts -------------------------------------------------------------------------------------------


@cache
def machine() -> str:
    """Eight characters for what counts processes: this machine, or the container in it."""
    spaces = Path("/proc/self/ns/pid")
    space = spaces.stat().st_ino if spaces.exists() else 0
    return hashlib.sha256(f"{platform.node()} {space}".encode()).hexdigest()[:8]


def is_alive(process: int) -> bool:
    """Whether there is a process of that number here; on Windows, where asking would end it, it is taken for alive."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def draft_beside(final: Path) -> Path:
    """A name in the folder of ``final`` that nobody has, for what will be renamed to it."""
    return final.with_name(f".draft-{machine()}-{os.getpid()}-{secrets.token_hex(4)}")


def is_left_behind(path: Path, now: float) -> bool:
    """Whether ``path`` is a draft whose process has ended."""
    found = DRAFT.fullmatch(path.name)
    if found is None:
        return False
    if found["process"] is not None:
        return found["machine"] == machine() and not is_alive(int(found["process"]))
    return now - path.lstat().st_mtime > FORGOTTEN


def remove_drafts(folder: Path, now: float) -> list[Path]:
    """Remove the drafts in ``folder`` that kills have left there, and no others; returns what they were.

    ``now`` is the time, in seconds since 1970.
    """
    gone = []
    for path in sorted(folder.glob(".draft-*")):
        try:
            if not is_left_behind(path, now):
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        except OSError:  # another process sweeps too, or it is not ours to remove: it costs room alone
            continue
        gone.append(path)
    return gone


@contextmanager
def draft_folder(final: Path) -> Iterator[Path]:
    """A new folder beside ``final``, with the permissions that folders get here; what is left of it at the end goes."""
    draft = draft_beside(final)
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_draft(final: Path, content: bytes) -> Path:
    """A draft of ``final`` that holds ``content``, which is on the disk; its permissions are those of any file."""
    draft = draft_beside(final)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft
