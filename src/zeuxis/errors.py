"""What a user may get wrong. Every message says what was wrong, where, and the mend, in one line.

The command line prints the message alone and leaves with :attr:`ZeuxisError.exit_code`
(2 for misuse, 1 for failure); a traceback is shown only under ``--debug``.
"""

from __future__ import annotations

import difflib
import errno
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


class OutOfMemory(ZeuxisError):
    """There was not enough memory, on the processor or on a GPU."""


class RunInUse(ZeuxisError):
    """A run folder that another training writes into."""


# -- troubles of the machine --------------------------------------------------------------------------

SMALLER = "use a smaller --batch or --size (of a training also train.accumulate), or end other programs"
MENDS: Mapping[int, str] = {  # by the number of an error in writing
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EACCES: "change its permissions",
    errno.EPERM: "change its permissions",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "end other programs",
    errno.EIO: "look after the disk",
    errno.ENOMEM: SMALLER,
}


def mend_of(error: OSError, otherwise: str) -> str:
    """What helps against an error of the file system; ``otherwise`` is the way out, such as "give another --out"."""
    known = None if error.errno is None else MENDS.get(error.errno)
    return otherwise if known is None else f"{known}, or {otherwise}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out: Python's own, the system's, or torch's on any device."""
    if isinstance(error, (MemoryError, OutOfMemory)) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = str(error).lower()
    return isinstance(error, Exception) and any(
        words in text for words in ("can't allocate memory", "cannot allocate memory", "out of memory", "bad_alloc")
    )
