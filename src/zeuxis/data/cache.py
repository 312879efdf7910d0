"""Where decoded and downloaded data is kept, and how files come into being whole or not at all."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zeuxis.errors import DataError, mend_of
from zeuxis.files import draft_folder, remove_drafts, write_draft


def cache_dir() -> Path:
    """``$ZEUXIS_CACHE``, or the platform's cache folder for Zeuxis."""
    if chosen := os.environ.get("ZEUXIS_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "zeuxis" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "zeuxis"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zeuxis"


def pulled_models() -> Path:
    """The folder of published models that were pulled: ``OWNER/NAME`` each."""
    return cache_dir() / "models"


def data_dir() -> Path | None:
    """``$ZEUXIS_DATA``: a folder of datasets that is looked in first; None where it is not set."""
    chosen = os.environ.get("ZEUXIS_DATA")
    return Path(chosen).expanduser() if chosen else None


def data_folder(name: str | Path) -> Path | None:
    """The folder of that path or, of a plain name, in ``$ZEUXIS_DATA``; None where there is none."""
    path, root = Path(name).expanduser(), data_dir()
    if path.is_dir():
        return path
    plain = root is not None and path.name == str(name) and (root / path).is_dir()
    return root / path if root is not None and plain else None


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``final`` when the block ends well, and vanishes otherwise.

    If another process made ``final`` meanwhile, that one stays.
    """
    with explained(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        remove_drafts(final.parent, time.time())
        with draft_folder(final) as made:
            yield made
            for path in made.iterdir():
                _flush(path)
            try:
                made.rename(final)
            except OSError:
                if not final.is_dir():
                    raise
            _flush(final.parent)


@contextmanager
def new_file(final: Path) -> Iterator[Path]:
    """A temporary file name that becomes ``final`` when the block ends well, and vanishes otherwise."""
    with explained(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        remove_drafts(final.parent, time.time())
        made = write_draft(final, b"")
    try:
        with explained(final):
            yield made
            _flush(made)
            made.replace(final)
            _flush(final.parent)
    finally:
        made.unlink(missing_ok=True)


@contextmanager
def explained(final: Path) -> Iterator[None]:
    """What the system refuses while ``final`` is made becomes a :class:`DataError` with its mend."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write '{final}': {error.strerror or error}; "
            + mend_of(error, "set ZEUXIS_CACHE to a folder that can be written")
        ) from error


def _flush(path: Path) -> None:
    """Have the system put a file's (or folder's entries') bytes on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
