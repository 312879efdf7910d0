"""One training at a time in a run folder: a lock that ends with its process, however that ends. Imports no torch."""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zeuxis.errors import RunInUse, TrainingStopped, mend_of
from zeuxis.files import is_alive, machine, read_table, remove_drafts

NAME = "training.lock"
UNKNOWN = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)  # of disks that know no locks
FAR = 1 << 20  # on Windows what is locked cannot be read: a byte that is not there


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Within this context no other training writes into the run folder ``folder``, which is there.

    What kills have left of drafts in it is removed first.

    Raises:
        RunInUse: another training is at work there; the message has its process and its host.
    """
    path = folder / NAME
    handle = _taken(path)
    try:
        _sign(handle)
        for inner in (folder, *(folder / name for name in ("checkpoints", "previews", "priors", "averages"))):
            remove_drafts(inner, time.time())
        yield
    finally:
        with suppress(OSError):  # the folder may be gone; the lock goes with the handle in any case
            if _is_still(handle, path):  # the folder may have made room, and be another training's
                path.unlink()
        os.close(handle)


def is_locked(folder: Path) -> bool:
    """Whether a training is at work in the run folder ``folder``, as far as the file of its lock tells."""
    return _is_held(folder / NAME)


def move_run(folder: Path, kept: Path) -> None:
    """Rename the run folder ``folder`` to ``kept``, in which no training can begin meanwhile.

    Raises :class:`RunInUse` where one is at work there.
    """
    with run_lock(folder):
        if sys.platform != "win32":
            folder.rename(kept)
            (kept / NAME).unlink()
            return
    folder.rename(kept)  # Windows renames no folder of an open file, such as the lock: another training's as well


def _taken(path: Path) -> int:
    """The handle of the locked file at ``path``, which is made."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        except OSError as error:
            mend = mend_of(error, "give another --out")
            raise TrainingStopped(f"cannot write {path}: {error.strerror}; {mend}") from None
        try:
            free = _lock(handle)
        except OSError as error:
            if error.errno not in UNKNOWN:
                os.close(handle)
                raise
            free = not _is_held(path)
        if free and _is_still(handle, path):
            return handle
        os.close(handle)
        if not free:
            _refuse_or_clear(path)


def _lock(handle: int) -> bool:
    """Whether nobody held the lock, which is ours now. It is the system's: it ends with the process that holds it."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415  (Windows only)

            os.lseek(handle, FAR, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415  (POSIX only)

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_still(handle: int, path: Path) -> bool:
    """Whether ``path`` is the file that was locked: whoever held it last may have removed it since it was opened."""
    try:
        there, ours = path.stat(), os.fstat(handle)
    except FileNotFoundError:
        return False
    return (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev)


def _sign(handle: int) -> None:
    facts = {"process": os.getpid(), "host": platform.node(), "machine": machine()}
    os.lseek(handle, 0, os.SEEK_SET)
    os.ftruncate(handle, 0)
    os.write(handle, json.dumps(facts).encode())


def _holder(path: Path) -> tuple[int | None, str, str]:
    """Process, host and machine that the lock at ``path`` was signed by, as far as it says."""
    try:
        facts = read_table(path, 1 << 16)
    except (OSError, ValueError):  # it is being signed, or has gone
        return None, "", ""
    process = facts.get("process")
    return process if type(process) is int else None, str(facts.get("host")), str(facts.get("machine"))


def _is_held(path: Path) -> bool:
    """Whether the process that signed is alive, as far as can be told: on another host it is taken to be."""
    process, _, where = _holder(path)
    return process is not None and (where != machine() or is_alive(process))


def _refuse_or_clear(path: Path) -> None:
    """Say who holds the lock; but where that process has ended, and only a child of its keeps the lock, remove it."""
    process, host, where = _holder(path)
    if process is not None and where == machine() and not is_alive(process):
        with suppress(OSError):
            path.unlink()
        return
    who = "another process" if process is None else f"process {process} on {host}"
    raise RunInUse(f"{path.parent} is being trained by {who}: wait for it, stop it, or give another --out")
