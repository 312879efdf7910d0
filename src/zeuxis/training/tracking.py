"""Where else a training is followed: TensorBoard's events, Weights & Biases. Both are extras, behind one small writer.

Each gets the figures of the log, held-out ones among them, and the preview sheets.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from zeuxis.errors import UnknownName, UsageError
from zeuxis.files import is_utf8

PREVIEW = "preview"  # what its pictures are called
TENSORBOARD, WANDB, NONE = "tensorboard", "wandb", "none"
WANDB_RUN = "wandb-run.txt"  # the file that holds what Weights & Biases call the run


class Tracker(Protocol):
    """Follows a training. ``close`` is called once, at its end."""

    def scalars(self, round: int, values: Mapping[str, float]) -> None: ...

    def picture(self, round: int, path: Path) -> None:
        """A preview sheet, which lies at ``path``."""
        ...

    def close(self) -> None: ...


class TensorBoard:
    """Events in ``folder/events``: ``tensorboard --logdir FOLDER`` shows them."""

    def __init__(self, folder: Path, after: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (an extra)

        # What was told of later rounds, which are played again, is no longer shown.
        self._writer: Any = SummaryWriter(str(folder / "events"), purge_step=after + 1 if after else 0)

    def scalars(self, round: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, round)

    def picture(self, round: int, path: Path) -> None:
        with Image.open(path) as sheet:
            self._writer.add_image(PREVIEW, np.asarray(sheet.convert("RGB")), round, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of the project "zeuxis", with its files in ``folder``. It sends them to a server, unless WANDB_MODE is
    offline: so nobody is tracked by it who did not ask for it by name. A training that is gone on with stays one run
    there, which takes no figures of rounds that it has figures of."""

    def __init__(self, folder: Path, after: int) -> None:
        self._wandb: Any = importlib.import_module("wandb")
        kept = folder / WANDB_RUN
        known = {"id": kept.read_text(encoding="utf-8").strip(), "resume": "allow"} if after and kept.is_file() else {}
        self._run: Any = self._wandb.init(project="zeuxis", name=folder.name, dir=str(folder), **known)
        kept.write_text(f"{self._run.id}\n", encoding="utf-8")

    def scalars(self, round: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=round)

    def picture(self, round: int, path: Path) -> None:
        self._run.log({PREVIEW: self._wandb.Image(str(path))}, step=round)

    def close(self) -> None:
        self._run.finish()


TRACKERS: Mapping[str, Callable[[Path, int], Tracker]] = {TENSORBOARD: TensorBoard, WANDB: WeightsAndBiases}


def check_trackers(names: Sequence[str]) -> None:
    """Refuse names of trackers that there are not, or whose package is not installed."""
    for name in names:
        if name not in (*TRACKERS, NONE):
            raise UnknownName("tracker", name, [*TRACKERS, NONE])
        if name in TRACKERS and find_spec(name) is None:
            raise UsageError(f"--track {name}: it is not installed: pip install {name}")


def trackers(folder: Path, names: Sequence[str] = (), after: int = 0) -> list[Tracker]:
    """Those called ``names``; without any TensorBoard, where it is installed and takes the folder's name (in UTF-8).

    ``after`` is the round after which the training goes on.
    """
    chosen = names or ([TENSORBOARD] if find_spec(TENSORBOARD) is not None and is_utf8(folder) else [])
    return [TRACKERS[name](folder, after) for name in dict.fromkeys(chosen) if name != NONE]
