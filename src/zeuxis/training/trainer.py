"""The one training loop: it plays any game, and no method is named in it.

It owns the order of things: rounds, the average, the clock, when to save and to show. A player's step is in
``step.py``, signals in ``signals.py``, several processes in ``distributed.py``, what is saved in ``state.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.errors import TrainingStopped, UsageError, WeightsError
from zeuxis.game import System, Turn, play_round
from zeuxis.recipe import Train
from zeuxis.rng import Stream
from zeuxis.training.checkpoint import Checkpoints, put_back, without_given, write_model
from zeuxis.training.distributed import ALONE, Ranks
from zeuxis.training.ema import ema_copy, own_state, restore_average, update_ema, warmed_decay
from zeuxis.training.given import kept_apart, stored
from zeuxis.training.log import Log
from zeuxis.training.optimiser import flat_state, overridden, restore_flat
from zeuxis.training.precision import AUTO, precision_of
from zeuxis.training.signals import Signals
from zeuxis.training.state import Part, Tensors, restore, tensors_of
from zeuxis.training.step import Steps


class BatchStream(Protocol):
    """Batches without end, whose place can be saved; images in [-1, 1], or uint8 pixels."""

    def next(self) -> Batch: ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Clock:
    """How far training has come."""

    round: int
    images: int
    seconds: float  # of training, over all sessions
    progress: float  # of the budget, in [0, 1]
    remaining: float | None  # seconds, estimated
    notes: dict[str, float]


ClockReport = Callable[[Clock], None]
Preview = Callable[[System, Clock], None]


class Trainer:
    """Plays ``system``'s game on ``batches`` within ``config``'s budget.

    ``folder`` receives ``log.jsonl``, ``checkpoints/`` and ``model/``; ``facts`` go into the model's
    card. ``report(clock)`` is called about twice a second; ``preview(system, clock)`` now and then,
    with the averaged system in evaluation mode, and may take its time: a signal interrupts it.
    With several ``ranks`` every process has a trainer, whose ``batches`` are that rank's share.
    """

    def __init__(
        self,
        system: System,
        batches: BatchStream,
        config: Train,
        folder: Path,
        *,
        players: dict[str, dict[str, Any]] | None = None,
        facts: dict[str, Any] | None = None,
        device: str = "cpu",
        ranks: Ranks = ALONE,
        report: ClockReport = lambda clock: None,
        preview: Preview = lambda system, clock: None,
    ) -> None:
        if config.iterations is None and config.minutes is None:
            raise UsageError(
                "training needs a bound: set train.iterations or train.minutes in the recipe, or give --budget"
            )
        self.system, self.batches, self.config, self.folder = system.to(device), batches, config, folder
        self.device, self.ranks, self.facts, self.report, self.preview = device, ranks, facts or {}, report, preview
        if config.channels_last:
            self.system.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        ranks.align([*system.parameters(), *system.buffers()])
        self.players = overridden(system.players(), players or {})
        self.checkpoints = Checkpoints(folder / "checkpoints", config.keep)
        self.steps = Steps(self.players, config, device, ranks, self.checkpoints.folder)
        self.steps.precision = precision_of(ranks.text_from_first(self.steps.precision), device)
        self.average = ema_copy(system) if config.ema else None
        self.rng = Stream(config.seed, "moves") if ranks.first else Stream(config.seed, "moves", ranks.rank)
        self.signals = Signals()
        self.stop_asked: str | None = None
        self.round = self.images = 0
        self.seconds = 0.0
        self.notes: dict[str, float | Tensor] = {}
        if config.compile:
            for player in self.players:
                for net in player.nets:
                    if isinstance(net, torch.nn.Module):
                        net.compile()

    # -- the loop ---------------------------------------------------------------------------------

    @property
    def best(self) -> System:
        """What should be sampled: the average where one is kept."""
        return self.system if self.average is None else self.average

    def run(self) -> Clock:
        """Train to the end of the budget, from the newest valid checkpoint if there is one.

        Returns the clock; ``self.stop_asked`` names the signal if one ended it early (all is saved).
        """
        if self.ranks.first:
            self.folder.mkdir(parents=True, exist_ok=True)
        log = Log(self.folder, writes=self.ranks.first)
        for line in self.resume():
            log.write(self.round, {"event": line})
        log.rewind(self.round)
        log.write(self.round, {"event": f"computes in {self.steps.precision}"})
        self.system.train()
        saved = previewed = reported = time.monotonic()
        with self.signals.heeded():
            try:
                if self.round == 0:
                    self._show()
                while self.progress < 1 and not self._stopping():
                    start = time.monotonic()
                    self.play()
                    now = time.monotonic()
                    self.seconds += now - start
                    show = now - previewed > 60 * self.config.preview_minutes
                    save = now - saved > 60 * self.config.save_minutes
                    self.seconds, show_now, save_now = self.ranks.from_first([self.seconds, show, save])
                    if now - reported > 0.5 or self.progress >= 1:
                        reported = now
                        log.write(self.round, {"seconds": self.seconds, "images": self.images, **self.notes})
                        if self.ranks.first:
                            self.report(self.clock())
                    if show_now:
                        self._show()
                        previewed = time.monotonic()
                    if save_now:
                        self.save()
                        saved = time.monotonic()
                if not self._stopping():
                    self._show()
                self.save()
                log.write(self.round, {"event": f"stopped by {self.stop_asked}" if self.stop_asked else "finished"})
            finally:
                log.close()
        return self.clock()

    def play(self) -> None:
        """One round, and what follows it."""
        turns = play_round(self.system, self.players, self._draw, self.steps)
        self.ranks.align([*self.system.buffers()])
        self.notes = {**self.notes, **turns[-1].notes, **self.steps.notes()}
        self.round += 1
        if self.average is not None:
            decay = warmed_decay(self.config.ema, self.round) if self.config.ema_warmup else self.config.ema
            update_ema(self.average, self.system, decay)

    def _draw(self) -> list[Turn]:
        batch = self.batches.next()
        self.images += len(batch) * self.ranks.size
        size = -(-len(batch) // self.config.accumulate)
        notes: dict[str, float | Tensor] = {}
        return [
            Turn(batch[slice(i, i + size)].to(self.device).floats(), self.rng, self.round, self.progress, notes)
            for i in range(0, len(batch), size)
        ]

    # -- the clock, and what is called now and then -----------------------------------------------

    @property
    def progress(self) -> float:
        """Of the budget, in [0, 1]: by iterations or by minutes, whichever is further."""
        by_iterations = self.round / self.config.iterations if self.config.iterations else 0.0
        by_time = self.seconds / (60 * self.config.minutes) if self.config.minutes else 0.0
        return min(1.0, max(by_iterations, by_time))

    def clock(self) -> Clock:
        done = self.progress
        remaining = self.seconds * (1 - done) / done if done > 0 and self.seconds > 0 else None
        notes = {k: float(v) for k, v in self.notes.items()}
        return Clock(self.round, self.images, self.seconds, done, remaining, notes)

    def _stopping(self) -> bool:
        if self.stop_asked is None and self.ranks.any(self.signals.asked is not None):
            self.stop_asked = self.signals.asked or "a signal to another process"
        return self.stop_asked is not None

    def _show(self) -> None:
        if self.ranks.first:
            try:
                with torch.no_grad(), self.signals.callback():
                    self.preview(self.best.eval(), self.clock())
            finally:
                self.system.train()

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
        tensors = tensors_of(self.parts())
        for name, tensor in tensors.items():
            if name.startswith("system/") and tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise TrainingStopped(
                    f"{name} is not finite after iteration {self.round}, so it was not saved: lower the learning rate; "
                    f"the last good checkpoint is in {self.checkpoints.folder}"
                )
        if not self.ranks.first:
            return
        come = {"round": self.round, "images": self.images, "seconds": self.seconds, "precision": self.steps.precision}
        place = {"bad_total": self.steps.bad_total, "batches": self.batches.state(), "given": self._given()}
        self.checkpoints.save(self.round, tensors, {**come, **place})
        write_model(self.folder / "model", self.best, {**self.facts, **come})

    def resume(self) -> list[str]:
        """Go back to the newest valid checkpoint; returns lines on what was passed over."""
        found = self.checkpoints.newest()
        if found is None:
            return []
        tensors, facts, passed = found
        for path, sha in self._given().items():
            if facts.get("given", {}).get(path, sha) != sha:  # older checkpoints do not say
                raise WeightsError(
                    f"the run in {self.folder} was begun upon other weights of model.{path}: "
                    "put those back, or use another --out"
                )
        restore(self.parts(), tensors)
        self.batches.restore(facts["batches"])
        self.round, self.images, self.seconds = facts["round"], facts["images"], facts["seconds"]
        self.steps.bad_total = facts["bad_total"]
        if self.config.precision == AUTO:  # checkpoints of before there was an "auto" do not say
            self.steps.precision = precision_of(facts.get("precision", self.steps.precision), self.device)
        return [*passed, f"resumed after iteration {self.round}"]
