"""What a user may get wrong. Every message says what was wrong, where, and the mend, in one line.

The command line prints the message alone and leaves with :attr:`ZeuxisError.exit_code`
(2 for misuse, 1 for failure); a traceback is shown only under ``--debug``.
"""

from __future__ import annotations

import difflib
import errno
import math
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
LISTED = 12  # names that a message has room for
MOST_BESIDE = 1000  # files of a folder that are looked at for one that was meant


class ZeuxisError(Exception):
    """A failure that the user can understand: the run could not go on."""

    exit_code = 1


class Stopped(KeyboardInterrupt):
    """A training that was stopped ``by`` a signal: what was to be made with it is not.

    ``kept`` says what there is of it, where it was left without saving.
    """

    def __init__(self, by: str, kept: str = "") -> None:
        super().__init__(f"{by}, given again: {kept}" if kept else by)
        self.exit_code = exit_code_of(by)


def exit_code_of(stopped_by: str) -> int:
    """What shells say of a program that a signal stopped, 128 and its number: 143 of SIGTERM, else that of Ctrl-C."""
    return 128 + (signal.SIGTERM if stopped_by == signal.SIGTERM.name else signal.SIGINT)


class UsageError(ZeuxisError):
    """The request itself cannot be met as it was put."""

    exit_code = 2


class NoSuchPath(UsageError):
    """There is no ``kind`` of thing ("picture") at ``path``; what is called nearly so in the same folder is suggested.

    ``where`` stands before it: the option that gave the path, and a colon. ``otherwise`` is what else helps where
    nothing is called so.
    """

    def __init__(self, kind: str, path: str | Path, where: str = "", otherwise: str = "") -> None:
        there = paths_near(str(path))
        mend = f"did you mean {' or '.join(there)}?" if there else f"check the path{otherwise}"
        if (found := Path(path)).exists():  # and is another kind of thing
            other = "a file" if found.is_file() else "a pipe or a device, which is not read"
            mend = f"it is {'a folder' if found.is_dir() else other}"
        elif found.is_symlink():
            mend = "it is a link that leads nowhere"
        super().__init__(f"{where}there is no {kind} {path}: {mend}")


class UnknownName(UsageError):
    """A name that nothing answers to; the nearest known names are suggested.

    ``elsewhere`` says what else the name could have been: "folder" or "file", of which there is none either. A name
    that is plainly a path is told so first, with what is called nearly so in the same folder, and no names are listed.
    ``all_known`` are the known names in words of the caller's, which are told even where one of them is near.
    """

    def __init__(
        self, kind: str, name: str, known: Iterable[str], hint: str = "", elsewhere: str = "", all_known: str = ""
    ) -> None:
        names = sorted(known)
        if elsewhere and is_path(name):
            super().__init__(str(NoSuchPath(elsewhere, name)))
            return
        near = nearest(name, names)
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED + 1 else ""
        listed = ", ".join(names[:LISTED] if more else names) or "none"
        mend = f"did you mean {' or '.join(near)}?" if near else all_known or f"known: {listed}{more}"
        mend += f" {all_known}" if near and all_known else ""
        nor = f", and there is no {elsewhere} of that name" if elsewhere else ""
        super().__init__(f"unknown {kind} '{name}'{nor}: {mend}{' ' + hint if hint else ''}")


def is_path(name: str) -> bool:
    """Whether ``name`` is written as only a path is."""
    ending = name.rpartition(".")[2]
    return name.startswith((".", "~")) or "/" in name or "\\" in name or (ending != name and ending.isalpha())


def paths_near(path: str) -> list[str]:
    """What lies beside ``path``, where nothing is, and is called nearly so, whatever its suffix: three at most."""
    meant = Path(path)
    beside: dict[str, list[str]] = {}  # names by what stands before their suffix
    try:
        with os.scandir(meant.parent.expanduser()) as found:
            for entry in islice(found, MOST_BESIDE):
                beside.setdefault(Path(entry.name).stem, []).append(entry.name)
    except (OSError, RuntimeError):  # no such folder, or nobody is called so
        return []
    near = nearest(meant.stem, sorted(beside), alike=0.6) if meant.name else []
    return [str(meant.with_name(name)) for stem in near for name in sorted(beside[stem])][:3]


def nearest(name: str, names: Sequence[str], alike: float = 0.5) -> list[str]:
    """Those of ``names``, three at most, that hold ``name`` as a word or are spelt like it, in whatever case; where
    some differ in nothing but case, blanks, the kind of stroke and their folder, those alone.

    ``alike`` is how much of both must be spelt in the same way, from 0 to 1.
    """
    word = name.casefold().strip().replace("_", "-")
    same = [known for known in names if known.casefold().replace("_", "-").rpartition("/")[2] == word]
    if same:
        return same[:3]
    holding = [known for known in names if len(word) > 2 and word in known.casefold().replace("-", " ").split()]
    folded = {known.casefold(): known for known in names}
    near = [folded[found] for found in difflib.get_close_matches(word, folded, n=3, cutoff=alike)]
    return list(dict.fromkeys([*holding, *near]))[:3]


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """``table[name]``; raises :class:`UnknownName` for a ``kind`` of that name there is not."""
    if name not in table:
        raise UnknownName(kind, name, table)
    return table[name]


def must_be_within(least: float, most: float = math.inf, /, **options: float) -> None:
    """Raise :class:`UsageError` for the first of ``options``, by its name, that is not from ``least`` to ``most``."""
    for name, value in options.items():
        if not (least <= value <= most and math.isfinite(value)):  # nor is what is no number
            wanted = f"{least:g} or more" if most == math.inf else f"a number from {least:g} to {most:g}"
            raise UsageError(f"{name} is {value:g}: give {wanted}")


class Unsupported(UsageError):
    """A system, dataset or format that does not have what was asked of it."""


class DataError(ZeuxisError):
    """Data that cannot be read, or too little of it that can."""


class NoneHeldOut(DataError):
    """Data with too few pictures to set any apart for the split that was asked for."""


class WeightsError(ZeuxisError):
    """Weights that do not fit, are damaged, or come in a form that is never opened (a pickle)."""


class TrainingStopped(ZeuxisError):
    """Training could not go on and said why (non-finite losses, no disk space)."""


class TooFewPictures(ValueError):
    """A batch of one picture where several are compared: a training says how to have larger ones."""


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
