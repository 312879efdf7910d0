"""What a user may get wrong. Every message says what was wrong, where, and the mend, in one line.

The command line prints the message alone and leaves with :attr:`ZeuxisError.exit_code`
(2 for misuse, 1 for failure); a traceback is shown only under ``--debug``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class ZeuxisError(Exception):
    """A failure that the user can understand: the run could not go on."""

    exit_code = 1


class UsageError(ZeuxisError):
    """The request itself cannot be met as it was put."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that nothing answers to; the nearest known names are suggested."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        mend = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"
        super().__init__(f"unknown {kind} '{name}': {mend}{' ' + hint if hint else ''}")


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """``table[name]``; raises :class:`UnknownName` for a ``kind`` of that name there is not."""
    if name not in table:
        raise UnknownName(kind, name, table)
    return table[name]


class Unsupported(UsageError):
    """A system, dataset or format that does not have what was asked of it."""


class DataError(ZeuxisError):
    """Data that cannot be read, or too little of it that can."""


class WeightsError(ZeuxisError):
    """Weights that do not fit, are damaged, or come in a form that is never opened (a pickle)."""


class TrainingStopped(ZeuxisError):
    """Training could not go on and said why (non-finite losses, no disk space)."""
