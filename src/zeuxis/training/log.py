"""The log of a run: one JSON object a line, and whatever else follows the training (``tracking.py``).

A process that dies (a full disk, a power cut) may leave a last line that is torn. It is no line: readers leave it out,
and it is cut off before the next is written. Anything else that is not JSON is damage, and is said to be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from zeuxis.errors import TrainingStopped, UsageError, mend_of
from zeuxis.files import read_bytes
from zeuxis.training.tracking import Tracker

MOST_LOG = 1 << 32  # bytes
GRADIENT = "gradient/"  # what the norms of players' gradients are called, before they are clipped
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


class Log:
    """Writes ``log.jsonl``, and tells ``trackers`` the same figures and the previews.

    Of several processes only one ``writes``; the log of the others does nothing.
    """

    def __init__(self, folder: Path, *, writes: bool = True, trackers: Sequence[Tracker] = ()) -> None:
        self.path = folder / "log.jsonl"
        self.writes, self.trackers = writes, trackers
        if writes:
            self.path.touch()

    def rewind(self, round: int) -> None:
        """Forget a torn line, and those after ``round``: a resumed run writes them again.

        Where nothing is left to go on from, the log of what was played before is kept beside the new one.
        """
        if not self.writes:
            return
        entries = read_log(self.path)
        kept = [entry for entry in entries if entry.get("round", 0) <= round]
        if round == 0 and len(kept) < len(entries):
            self.path.rename(free_name(self.path.with_name("log-before.jsonl")))
        draft = self.path.with_name(".log-draft.jsonl")
        try:
            draft.write_text("".join(f"{json.dumps(entry)}\n" for entry in kept), encoding="utf-8")
            draft.replace(self.path)  # in one step: a kill leaves the old log or the new one
        except OSError as error:
            raise self._unwritten(error) from None

    def write(self, round: int, values: Mapping[str, float | Tensor | str]) -> None:
        """One line for ``round``."""
        if not self.writes:
            return
        plain = {k: float(v) if isinstance(v, Tensor) else v for k, v in values.items()}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"round": round, **plain}) + "\n")
        except OSError as error:
            raise self._unwritten(error) from None
        figures = {key: float(value) for key, value in plain.items() if isinstance(value, (int, float))}
        for tracker in self.trackers if figures else ():
            tracker.scalars(round, figures)

    def picture(self, round: int, path: Path) -> None:
        """Tell the trackers of a preview sheet."""
        for tracker in self.trackers:
            tracker.picture(round, path)

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.close()

    def _unwritten(self, error: OSError) -> TrainingStopped:
        mend = mend_of(error, "give another --out")
        return TrainingStopped(f"cannot write {self.path}: {error}; {mend}; then the same command goes on")
