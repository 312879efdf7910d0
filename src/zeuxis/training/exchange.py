"""A folder replaced by another while others read it. Imports no torch.

A folder that holds files cannot be replaced in one step everywhere: the old one steps aside, the new one takes its
name, the old one goes. Whoever reads meanwhile finds one of them whole, for :func:`settled` reads again where the
folder was exchanged under it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from zeuxis.errors import WeightsError
from zeuxis.files import read_table, spelt_error

T = TypeVar("T")
TRIES = 20  # each of which a whole model would have to be written in the middle of
PAUSE = 0.01  # seconds between them


def _aside(folder: Path) -> Path:
    return folder.parent / f".old-{folder.name}"


def exchange(draft: Path, folder: Path) -> None:
    """Give ``draft`` the name of ``folder``, which goes if it is there; a kill in between loses neither."""
    if not folder.exists():
        draft.rename(folder)
        return
    aside = _aside(folder)
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    draft.rename(folder)
    shutil.rmtree(aside)


def standing(folder: Path) -> Path:
    """``folder``, or where it stepped aside to, should the one to replace it not have come (yet)."""
    aside = _aside(folder)
    return aside if not folder.exists() and aside.exists() else folder


def holds(folder: Path, name: str) -> bool:
    """Whether there is a file ``name`` in ``folder``, at every moment of an exchange too."""
    # The third look is for a folder that came back between the first and the second.
    return any((place / name).is_file() for place in (folder, _aside(folder), folder))


def settled(folder: Path, read: Callable[[Path], T]) -> T:
    """What ``read`` finds in ``folder``: once more where it failed and the folder was exchanged meanwhile."""
    for _ in range(TRIES):
        place = standing(folder)
        before = _identity(place)
        try:
            return read(place)
        except WeightsError:
            if _identity(place) == before and standing(folder) == place:
                raise  # nothing moved: it is damaged, or not there
        time.sleep(PAUSE)
    return read(standing(folder))


def _identity(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another of its name; None where there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_ino, found.st_dev


def read_card(folder: Path) -> dict[str, Any]:
    """The table ``model.json`` in a model folder; raises :class:`WeightsError` where there is none that can be read."""

    def read(place: Path) -> dict[str, Any]:
        path = place / "model.json"
        try:
            return read_table(path)
        except (OSError, ValueError) as error:
            raise WeightsError(f"cannot read {path}: {spelt_error(error, path)}") from None

    return settled(folder, read)
