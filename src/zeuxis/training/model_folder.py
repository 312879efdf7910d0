"""The ``model/`` of a run folder, of which a training that goes back further overwrites nothing in silence."""

from __future__ import annotations

import shutil
from pathlib import Path

from zeuxis.errors import WeightsError
from zeuxis.training.checkpoint import LaterFormat, checked_facts
from zeuxis.training.exchange import standing
from zeuxis.training.log import free_name


class ModelFolder:
    """A run's ``model/``, which no training of fewer rounds may overwrite without leaving it somewhere."""

    def __init__(self, run: Path) -> None:
        self.folder = run / "model"

    def must_not_be(self) -> None:
        """Raise WeightsError where there is a model: a training without a checkpoint would overwrite it."""
        if not standing(self.folder).exists():
            return
        try:
            which = f"the model of iteration {self._round()}"
        except WeightsError as error:
            which = f"a model ({error})"
        raise WeightsError(
            f"{self.folder.parent} holds {which} and no checkpoint to go on from: put its checkpoints/ back, or begin "
            f"anew with another --out (--from {self.folder.parent} starts from its weights)"
        )

    def spare(self, round: int) -> list[str]:
        """Keep what going on after ``round`` would overwrite: a model of a later round, or one that is damaged."""
        if not standing(self.folder).exists():
            return []
        try:
            newer = self._round()
        except LaterFormat:
            raise
        except WeightsError as error:
            aside = free_name(self.folder.with_name("damaged-model"))
            standing(self.folder).rename(aside)
            return [f"{error}; it was set aside as {aside}"]
        if newer <= round:
            return []
        copy = self.folder.with_name(f"model-{newer:08d}")
        if not copy.exists():
            shutil.copytree(standing(self.folder), copy)
        return [f"the model of iteration {newer}, later than the checkpoint, was copied to {copy}"]

    def _round(self) -> int:
        facts = checked_facts(self.folder, "model")
        try:
            return int(facts.get("round", 0))  # a model made in closed form, or by hand, is of no round
        except (TypeError, ValueError) as error:
            raise WeightsError(f"{self.folder / 'model.json'} is damaged: {error}") from None
