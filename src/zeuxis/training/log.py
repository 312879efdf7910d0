"""The log of a run: one JSON object a line, and TensorBoard events where its package is installed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor


class Log:
    """Writes ``log.jsonl`` and, when the ``track`` extra is there, TensorBoard events beside it.

    Of several processes only one ``writes``; the log of the others does nothing.
    """

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        self.path = folder / "log.jsonl"
        self.writes = writes
        self._board: Any = None
        if not writes:
            return
        self.path.touch()
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (an extra)

            self._board = SummaryWriter(str(folder / "events"))

    def rewind(self, round: int) -> None:
        """Forget lines after ``round``: a resumed run writes them again."""
        if not self.writes:
            return
        lines = [line for line in self.path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        kept = [line for line in lines if json.loads(line).get("round", 0) <= round]
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def write(self, round: int, values: Mapping[str, float | Tensor | str]) -> None:
        """One line for ``round``."""
        if not self.writes:
            return
        plain = {k: float(v) if isinstance(v, Tensor) else v for k, v in values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"round": round, **plain}) + "\n")
        if self._board is not None:
            for key, value in plain.items():
                if isinstance(value, (int, float)):
                    self._board.add_scalar(key, value, round)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()
