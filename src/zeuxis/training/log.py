"""The log of a run: one JSON object a line, and whatever else follows the training (``tracking.py``).

A figure that is not finite is null in it, for JSON has no such numbers; trackers are told it as it is.

A process that dies (a full disk, a power cut) may leave a last line that is torn. It is no line: readers leave it out
(``log_file.py``), and it is cut off before the next is written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from zeuxis.errors import TrainingStopped, mend_of
from zeuxis.training.log_file import FAILED as FAILED
from zeuxis.training.log_file import GRADIENT as GRADIENT
from zeuxis.training.log_file import HELD_OUT as HELD_OUT
from zeuxis.training.log_file import MADE as MADE
from zeuxis.training.log_file import RATE as RATE
from zeuxis.training.log_file import free_name as free_name
from zeuxis.training.log_file import read_log as read_log
from zeuxis.training.tracking import Tracker


class Log:
    """Writes ``log.jsonl``, and tells ``trackers`` the same figures and the previews.

    Of several processes only one ``writes``; the log of the others does nothing.
    """

    def __init__(self, folder: Path, *, writes: bool = True, trackers: Sequence[Tracker] = ()) -> None:
        self.path = folder / "log.jsonl"
        self.writes, self.trackers = writes, trackers
        if writes:
            self.path.touch()

    def rewind(self, round: int) -> frozenset[str]:
        """Forget a torn line, and those after ``round``: a resumed run writes them again. Returns the names of what
        stands there of ``round`` itself, which need not be written again.

        Where nothing is left to go on from, the log of what was played before is kept beside the new one.
        """
        if not self.writes:
            return frozenset()
        entries = read_log(self.path)
        kept = [entry for entry in entries if entry.get("round", 0) <= round]
        if round == 0 and len(kept) < len(entries):
            self.path.rename(free_name(self.path.with_name("log-before.jsonl")))
        draft = self.path.with_name(".log-draft.jsonl")
        try:
            draft.write_text("".join(map(_line, kept)), encoding="utf-8")
            draft.replace(self.path)  # in one step: a kill leaves the old log or the new one
        except OSError as error:
            raise self._unwritten(error) from None
        return frozenset(name for entry in kept if entry.get("round") == round for name in entry)

    def write(self, round: int, values: Mapping[str, float | Tensor | str]) -> None:
        """One line for ``round``."""
        if not self.writes:
            return
        plain = {k: float(v) if isinstance(v, Tensor) else v for k, v in values.items()}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line({"round": round, **plain}))
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


def _line(entry: Mapping[str, Any]) -> str:
    """The line of an entry."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()}
    return json.dumps(finite, allow_nan=False) + "\n"
