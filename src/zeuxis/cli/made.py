"""What is said of pictures that were made of others: the notes, what was written, what was not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import typer

from zeuxis.api.naming import counted
from zeuxis.cli.output import emit, note, say


class PicturesMade(Protocol):
    """What came of the pictures that were given."""

    @property
    def done(self) -> tuple[Path, ...]: ...
    @property
    def before(self) -> tuple[Path, ...]: ...
    @property
    def problems(self) -> tuple[str, ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def failed(self) -> int: ...


def tell(made: PicturesMade, how: str, verb: str, page: Path | None, as_json: bool, lines: Sequence[str] = ()) -> None:
    """Notes and problems on stderr; what was done and ``how``, ``lines`` about it, and what was not, or all as JSON.

    Leaves with 1 where a picture was given of which nothing was made.
    """
    for text in (*(f"note: {text}" for text in made.notes), *made.problems):
        note(text)
    if as_json:
        emit(made)
    else:
        if made.done:
            say(f"{counted(len(made.done), 'picture')}{how} -> {_place(made.done)}")
        for line in lines:
            say(line)
        if made.before:
            say(f"done before: {len(made.before)}")
        if made.problems:
            say(f"not {verb}: {len(made.problems)}")
        if page is not None:
            say(f"before and after -> {page}")
    if made.failed:
        raise typer.Exit(1)


def _place(files: Sequence[Path]) -> str:
    """The file, or the folder that all lie in."""
    if len(files) == 1:
        return str(files[0])
    common = next((one for one in files[0].parents if all(file.is_relative_to(one) for file in files)), None)
    return f"{len({file.parent for file in files})} folders" if common is None else str(common)
