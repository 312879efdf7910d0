"""The lines of a run's ``log.jsonl``, and what the figures in them are called. Imports no torch.

A process that dies (a full disk, a power cut) may leave a last line that is torn. It is no line: readers leave it out.
Anything else that is not JSON is damage, and is said to be.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zeuxis.errors import UsageError
from zeuxis.files import read_bytes

MOST_LOG = 1 << 32  # bytes
LOSS = "loss/"  # what begins the names of players' losses
GRADIENT = "gradient/"  # what the norms of players' gradients are called, before they are clipped
RATE = "rate/"  # what the learning rates of players are called that have a schedule
MADE = "made/"  # and what is measured of pictures that are made of the same latents each time
FAILED = "failed: "  # what an event begins with that ended a training before its time
HELD_OUT = "held-out/"  # what names begin with that are measured on pictures which training never sees


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of a log, without a torn last line.

    Raises:
        UsageError: another line cannot be read.
    """
    lines = read_bytes(path, MOST_LOG).removesuffix(b"\n").split(b"\n")
    entries = [_entry(line) for line in lines]
    found = [entry for entry in entries if entry is not None]
    if found != (entries[:-1] if entries[-1] is None else entries):
        raise UsageError(
            f"{path}: line {entries.index(None) + 1} is not a JSON object: the log is damaged; put a sound copy in its "
            "place, or move it away"
        )
    return found


def parsed_lines(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    """The entries in some lines of a log; what is none is left out."""
    return [entry for entry in map(_entry, lines) if entry is not None]


def _entry(line: bytes) -> dict[str, Any] | None:
    """The entry in ``line``; None where there is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def free_name(path: Path) -> Path:
    """``path``, or where there is such a file or folder ``<stem>-2<suffix>``, ``<stem>-3<suffix>``, ..."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
