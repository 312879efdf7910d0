"""The one training loop: it plays any game, and no method is named in it.

It owns the order of things: rounds, the average, the clock, when to save and to show. A player's step is in
``step.py``, signals in ``signals.py``, several processes in ``distributed.py``, what is saved in ``state.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
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
from zeuxis.training.checkpoint import Checkpoints, write_model
from zeuxis.training.distributed import ALONE, Ranks
from zeuxis.training.ema import Averaging, ema_copy, own_state, restore_average, warmed_decay
from zeuxis.training.fit import put_back, without_given
from zeuxis.training.given import kept_apart, stored
from zeuxis.training.log import Log
from zeuxis.training.model_folder import ModelFolder
from zeuxis.training.norms import BATCHES, PICTURES, batch_norms, measure_norms, statistics
from zeuxis.training.optimiser import flat_state, overridden, restore_flat
from zeuxis.training.precision import AUTO, precision_of
from zeuxis.training.resuming import differences, other_threads
from zeuxis.training.signals import Signals
from zeuxis.training.state import Part, Tensors, restore, tensors_of
from zeuxis.training.step import Steps
from zeuxis.training.threads import Threads


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
        self.checkpoints = Checkpoints(folder / "checkpoints", config.keep, writes=ranks.first)
        self.steps = Steps(system, self.players, config, device, ranks, self.checkpoints)
        self.steps.precision = precision_of(ranks.text_from_first(self.steps.precision), device)
        self.average = ema_copy(system) if config.ema else None
        self.averaging = None if self.average is None else Averaging(self.average, system)
        self.norms = [] if self.average is None else batch_norms(self.average)
        self.measured: int | None = None  # the round after which the average's batch norms were measured
        self.rng = Stream(config.seed, "moves") if ranks.first else Stream(config.seed, "moves", ranks.rank)
        self.signals = Signals()
        self.threads = Threads(fixed=ranks.size > 1 or torch.device(device).type != "cpu")
        self.kept_threads: int | None = None  # of the checkpoint that is gone on from
        self.stop_asked: str | None = None
        self.round = self.images = 0
        self.skipped = 0  # rounds that left nothing, because a step of theirs was not finite
        self.seconds = 0.0
        self.said: list[str] = []  # what whoever started it should know
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
        ``self.said`` are lines on what was not as usual.
        """
        if self.ranks.first:
            self.folder.mkdir(parents=True, exist_ok=True)
        lines = self.resume()
        threads = self.threads.begin(self.kept_threads)
        lines = [*other_threads(self.kept_threads, self.threads.number), *lines]
        log = Log(self.folder, writes=self.ranks.first)
        log.rewind(self.round)
        for line in [*lines, f"computes in {self.steps.precision}", threads]:
            log.write(self.round, {"event": line})
        self.said += lines[:-1]  # the last says that it was resumed
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
                    changed = self.threads.after(now - start)
                    if changed is not None:
                        log.write(self.round, {"event": changed})
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
                    if save_now and not self.steps.failing:
                        self.save()
                        saved = time.monotonic()
                if not self._stopping():
                    self._show()
                self._end(log)
                log.write(self.round, {"event": f"stopped by {self.stop_asked}" if self.stop_asked else "finished"})
            finally:
                self.threads.end()
                log.close()
        return self.clock()

    def _end(self, log: Log) -> None:
        """Save, but not in an explosion that a signal has cut short: what comes of it is not known."""
        line = None
        if self.steps.failing and self.stop_asked:
            line = f"the last step was not finite, so nothing was saved: {self.checkpoints.last_good()}"
        elif self.steps.failing:
            line = "the last step was not finite: what was saved is what the finite steps before it left"
        if line is not None:
            self.said.append(line)
            log.write(self.round, {"event": line})
        if line is None or not self.stop_asked:
            self.save()

    def play(self) -> None:
        """One round, and what follows it."""
        bad = self.steps.bad_total
        turns = play_round(self.system, self.players, self._draw, self.steps)
        if self.ranks.size > 1:
            self.ranks.align([*self.system.buffers()])
        self.notes = {**self.notes, **_mean_notes(turns), **self.steps.notes()}
        self.round += 1
        self.skipped += self.steps.bad_total > bad
        if self.averaging is not None:
            decay = warmed_decay(self.config.ema, self.round) if self.config.ema_warmup else self.config.ema
            self.averaging.update(decay)

    def _draw(self) -> list[Turn]:
        batch = self.batches.next()
        self.images += len(batch) * self.ranks.size
        size = -(-len(batch) // self.config.accumulate)
        return [self._turn(batch[slice(i, i + size)], self.rng) for i in range(0, len(batch), size)]

    def _turn(self, batch: Batch, rng: Stream) -> Turn:
        return Turn(batch.to(self.device).floats(), rng, self.round, self.progress, skipped=self.skipped)

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
                    self._measure_norms()
                    self.preview(self.best.eval(), self.clock())
            finally:
                self.system.train()

    def _measure_norms(self) -> None:
        """Give the average's batch norms statistics of their own: of the batches that come next, which stay to come."""
        if self.average is None or self.averaging is None or not self.norms or self.measured == self.round:
            return
        place, rng = self.batches.state(), Stream(self.config.seed, "norms", self.round)
        count = min(BATCHES, max(1, PICTURES * self.ranks.size // self.config.batch))
        turns = (self._turn(self.batches.next(), rng) for _ in range(count))
        try:
            measure_norms(self.average, self.norms, self.averaging.own, turns, self.steps.precision)
            self.measured = self.round
        finally:
            self.batches.restore(place)

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
        if self.ranks.first:
            self._measure_norms()
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
            "batches": self.batches.state(),
            "given": self._given(),
            "reference": self.facts.get("reference"),
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
            return []
        tensors, facts, lines = found
        lines += differences(self.folder, facts, self._given(), self.facts)
        restore(self.parts(), tensors)
        self.batches.restore(facts["batches"])
        self.round, self.images, self.seconds = facts["round"], facts["images"], facts["seconds"]
        self.steps.bad_total, self.skipped = facts["bad_total"], facts.get("skipped", 0)
        self.steps.bad |= facts.get("bad", {})
        self.kept_threads = facts.get("threads")
        if self.config.precision == AUTO:  # where a checkpoint does not say, float32 was the default
            self.steps.precision = precision_of(facts.get("precision", "float32"), self.device)
        if self.ranks.first:
            lines += model.spare(self.round)
        return [*lines, f"resumed after iteration {self.round}"]


def _mean_notes(turns: Sequence[Turn]) -> dict[str, float | Tensor]:
    """The notes of all parts of a batch: each the mean over those that have it."""
    if len(turns) == 1:
        return turns[0].notes
    by_name: dict[str, list[float]] = {}
    for turn in turns:
        for name, value in turn.notes.items():
            by_name.setdefault(name, []).append(float(value))
    return {name: sum(values) / len(values) for name, values in by_name.items()}
