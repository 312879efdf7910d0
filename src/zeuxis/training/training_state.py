"""A training as it stands: what its rounds change, how that is saved, and how it is put back.

What of it are tensors is listed in :meth:`TrainingState.parts`; numbers go beside them into the checkpoint's facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.errors import TrainingStopped, WeightsError
from zeuxis.game import System, Turn
from zeuxis.recipe import Train
from zeuxis.rng import Stream
from zeuxis.training.checkpoint import Checkpoints, write_model
from zeuxis.training.distributed import Ranks
from zeuxis.training.ema import Averaging, ema_copy, own_state, restore_average
from zeuxis.training.fit import put_back, without_given
from zeuxis.training.given import kept_apart, stored
from zeuxis.training.model_folder import ModelFolder
from zeuxis.training.norms import BATCHES, PICTURES, batch_norms, measure_norms, statistics
from zeuxis.training.optimiser import flat_state, overridden, restore_flat
from zeuxis.training.posthoc import PowerAverages
from zeuxis.training.precision import AUTO, precision_of
from zeuxis.training.resuming import code_of, differences
from zeuxis.training.state import Part, Tensors, restore, tensors_of
from zeuxis.training.step import Steps
from zeuxis.training.threads import Threads

PREVIEWS = "previews"  # the folder of sheets, each called after its round


class BatchStream(Protocol):
    """Batches without end, whose place can be saved; images in [-1, 1], or uint8 pixels."""

    def next(self) -> Batch: ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


class TrainingState:
    """The system, its average, its optimisers and its place in the data and in the budget.

    The arguments are those of :class:`zeuxis.training.trainer.Trainer`, which plays its rounds.
    """

    def __init__(
        self,
        system: System,
        batches: BatchStream,
        config: Train,
        folder: Path,
        players: dict[str, dict[str, Any]],
        facts: dict[str, Any],
        device: str,
        ranks: Ranks,
    ) -> None:
        self.system, self.batches, self.config, self.folder = system.to(device), batches, config, folder
        self.device, self.ranks, self.facts = device, ranks, facts
        if config.channels_last:
            self.system.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        ranks.align([*system.parameters(), *system.buffers()])
        self.players = overridden(system.players(), players)
        self.checkpoints = Checkpoints(folder / "checkpoints", config.keep, writes=ranks.first)
        self.steps = Steps(system, self.players, config, device, ranks, self.checkpoints)
        self.steps.precision = precision_of(ranks.text_from_first(self.steps.precision), device)
        self.average = ema_copy(system) if config.ema else None
        self.averaging = None if self.average is None else Averaging(self.average, system)
        self.posthoc = PowerAverages(system, folder) if config.posthoc else None
        self.norms = [] if self.average is None else batch_norms(self.average)
        self.measured: int | None = None  # the round after which the average's batch norms were measured
        self.rng = Stream(config.seed, "moves") if ranks.first else Stream(config.seed, "moves", ranks.rank)
        self.threads = Threads(fixed=ranks.size > 1 or torch.device(device).type != "cpu")
        self.kept_threads: int | None = None  # of the checkpoint that is gone on from
        self.round = self.images = 0
        self.began = 0  # the round after which it was gone on with
        self.skipped = 0  # rounds that left nothing, because a step of theirs was not finite
        self.seconds = 0.0
        self.reached = 0.0  # the progress of the budget before this one: what has grown by it does not shrink again
        self.looked_at = 0.0  # the progress at which it was last asked whether a snapshot is due

    @property
    def best(self) -> System:
        """What should be sampled: the average where one is kept."""
        return self.system if self.average is None else self.average

    @property
    def progress(self) -> float:
        """Of the budget, in [0, 1]: by iterations or by minutes, whichever is further."""
        by_iterations = self.round / self.config.iterations if self.config.iterations else 0.0
        by_time = self.seconds / (60 * self.config.minutes) if self.config.minutes else 0.0
        return min(1.0, max(by_iterations, by_time))

    def parts_of(self, batch: Batch) -> list[Batch]:
        """What is computed at a time: the whole, or parts of nearly one size where gradients are accumulated."""
        n = len(batch)
        count = -(-n // -(-n // self.config.accumulate))  # as few as hold no more than a share each
        ends = [n * k // count for k in range(count + 1)]
        return [batch] if count == 1 else [batch[slice(*part)] for part in pairwise(ends)]

    def turn_of(self, batch: Batch, rng: Stream) -> Turn:
        spent = self.progress
        progress = max(self.reached, spent)
        pixels = batch.to(self.device).floats()
        several = self.ranks.size > 1
        return Turn(
            pixels,
            rng,
            self.round,
            progress,
            skipped=self.skipped,
            spent=spent if spent < progress else None,
            gather=self.ranks.gather if several else None,
            common=Stream(self.config.seed, "shared", self.round) if several else None,
        )

    def measure_norms(self) -> None:
        """Give the average's batch norms statistics of their own: of the batches that come next, which stay to come."""
        if self.average is None or self.averaging is None or not self.norms or self.measured == self.round:
            return
        place, rng = self.batches.state(), Stream(self.config.seed, "norms", self.round)
        count = min(BATCHES, max(1, PICTURES * self.ranks.size // self.config.batch))
        turns = (
            replace(self.turn_of(part, rng), gather=None, common=None)  # the first process is at it alone
            for _ in range(count)
            for part in self.parts_of(self.batches.next())
        )
        try:
            measure_norms(self.average, self.norms, self.averaging.own, turns, self.steps.precision)
            self.measured = self.round
        finally:
            self.batches.restore(place)

    def keep_snapshot(self) -> None:
        """A snapshot of the averages of a length yet to be chosen, if one fell due since this was last asked."""
        before, self.looked_at = self.looked_at, self.progress
        due = int(self.looked_at * self.config.posthoc) > int(before * self.config.posthoc)
        if self.posthoc is not None and due and self.ranks.first and not self.steps.failing:
            self.posthoc.put_aside(self.round)

    # -- saving and resuming ----------------------------------------------------------------------

    def parts(self) -> list[Part]:
        """All that has a state of tensors, in the order in which it is put back."""
        mend = "use another --out, or the recipe that it was trained with"
        what = f"the checkpoint in {self.checkpoints.folder} does not fit this recipe's networks"
        system, average = self.system, self.average

        def put_system(tensors: Tensors) -> None:
            put_back(stored(system), without_given(system, tensors), what, mend)

        parts = [Part("system", partial(stored, system), put_system)]
        if average is not None:
            own, back = partial(own_state, average, system), partial(restore_average, average, system)
            parts.append(Part("average", own, back))
        if self.posthoc is not None:
            parts.append(Part("posthoc", self.posthoc.state, self.posthoc.restore))
        for name, optimiser in self.steps.optimisers.items():
            state, back_to = partial(flat_state, optimiser), partial(restore_flat, optimiser)
            parts.append(Part(f"optimiser/{name}", state, back_to))
        parts += [Part(f"scaler/{name}", scaler.state, scaler.restore) for name, scaler in self.steps.scalers.items()]
        return [*parts, Part("rng", self._rng_state, self._restore_rng)]

    def _rng_state(self) -> Tensors:
        first, *others = self.ranks.gather(self.rng.state())
        return {"": first} | {str(k): state for k, state in enumerate(others, 1)}

    def _restore_rng(self, states: Mapping[str, Tensor]) -> None:
        if len(states) != self.ranks.size:
            raise WeightsError(
                f"the checkpoint in {self.checkpoints.folder} is of {len(states)} processes and there are "
                f"{self.ranks.size} now: resume with as many"
            )
        self.rng.restore(states["" if self.ranks.first else str(self.ranks.rank)])

    def _given(self) -> dict[str, str]:
        """The hashes of the given systems, which the checkpoint does not hold."""
        return {path: given.origin.sha256 for path, given in kept_apart(self.system).items() if given.origin}

    def save(self) -> None:
        """Write a checkpoint and the model. Refuses to save weights that are not finite."""
        if self.ranks.first:
            self.measure_norms()
        self.ranks.align(statistics(self.norms))
        tensors = tensors_of(self.parts())
        for name, tensor in tensors.items():
            if (
                name.startswith(("system/", "average/"))
                and tensor.is_floating_point()
                and not torch.isfinite(tensor).all()
            ):
                raise TrainingStopped(
                    f"{name} is not finite after iteration {self.round}, so it was not saved: lower the learning rate; "
                    f"{self.checkpoints.last_good()}"
                )
        if not self.ranks.first:
            return
        come: dict[str, Any] = {"round": self.round, "images": self.images, "seconds": self.seconds}
        come |= {"precision": self.steps.precision, "threads": self.threads.number}
        place = {
            "bad_total": self.steps.bad_total,
            "bad": self.steps.bad,
            "skipped": self.skipped,
            "progress": max(self.reached, self.progress),
            "batches": self.batches.state(),
            "given": self._given(),
            "reference": self.facts.get("reference"),
            "code": code_of(self.facts),
        }
        self.checkpoints.save(self.round, tensors, {**come, **place})
        write_model(self.folder / "model", self.best, {**self.facts, **come})

    def resume(self) -> list[str]:
        """Go back to the newest sound checkpoint; returns lines on what was passed over, and that it was resumed.

        Raises:
            WeightsError: there is something in the folder that would be overwritten, and nothing to go on from.
        """
        found, model = self.checkpoints.newest(), ModelFolder(self.folder)
        if found is None:
            model.must_not_be()
            if self.ranks.first:
                self._forget_later()  # of a training that was never saved
            return []
        tensors, facts, lines = found
        lines += differences(self.folder, facts, self._given(), self.facts)
        restore(self.parts(), tensors)
        self.batches.restore(facts["batches"])
        self.round, self.images, self.seconds = facts["round"], facts["images"], facts["seconds"]
        self.began = self.round
        self.looked_at = self.progress
        self.reached = facts.get("progress", 0.0)
        self.steps.bad_total, self.skipped = facts["bad_total"], facts.get("skipped", 0)
        self.steps.bad |= facts.get("bad", {})
        self.kept_threads = facts.get("threads")
        if self.config.precision == AUTO:  # where a checkpoint does not say, float32 was the default
            self.steps.precision = precision_of(facts.get("precision", "float32"), self.device)
        if self.ranks.first:
            lines += model.spare(self.round)
            self._forget_later()
        return [*lines, f"resumed after iteration {self.round}"]

    def _forget_later(self) -> None:
        """Remove snapshots and preview sheets of later rounds than this one, which will be played again."""
        if self.posthoc is not None:
            self.posthoc.forget_after(self.round)
        for sheet in (self.folder / PREVIEWS).glob("*.png"):
            if sheet.stem.isdecimal() and int(sheet.stem) > self.round:
                sheet.unlink()
