"""The one training loop: it plays any game, and no method is named in it.

It owns the order of things: rounds, the clock, when to save and to show. What a training has, writes and puts back is
in ``training_state.py``, a player's step in ``step.py``, signals in ``signals.py``, several processes in
``distributed.py``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.errors import TrainingStopped, UsageError
from zeuxis.game import System, Turn, play_round
from zeuxis.recipe import Train
from zeuxis.rng import Stream
from zeuxis.training.compiling import compile_networks
from zeuxis.training.distributed import ALONE, Ranks
from zeuxis.training.ema import warmed_decay
from zeuxis.training.log import FAILED, HELD_OUT, Log
from zeuxis.training.memory import kept
from zeuxis.training.precision import autocast
from zeuxis.training.resuming import other_threads
from zeuxis.training.run_lock import run_lock
from zeuxis.training.saving import Saves
from zeuxis.training.signals import Signals
from zeuxis.training.tracking import trackers
from zeuxis.training.training_state import BatchStream, TrainingState
from zeuxis.training.watching import Watch

HELD_OUT_MEAN = f"{HELD_OUT}mean"
PATIENCE = 32  # how many times as long as measuring them takes is trained before it is done again: three per cent


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
Preview = Callable[[System, Clock], Path | None]  # the sheet that it wrote, if it wrote one


class Trainer(TrainingState):
    """Plays ``system``'s game on ``batches`` within ``config``'s budget.

    ``folder`` receives ``log.jsonl``, ``checkpoints/`` and ``model/``; ``facts`` go into the model's
    card. ``held_out`` are a few examples that it never trains on: what the system says of them
    (:meth:`~zeuxis.game.System.held_out`) is logged as ``held-out/<name>``, and its mean shown, at the beginning, at
    the end, and in between as often as costs three per cent. ``report(clock)`` is called about twice a second;
    ``preview(system, clock)`` now and then, with the averaged system in evaluation mode, and may take its
    time: a signal interrupts it. ``track`` names what follows the training beside its log. ``resumed(lines)`` is
    called once, before the first round, with what there is to say of a checkpoint that is gone on from. With several
    ``ranks`` every process has a trainer, whose ``batches`` are that
    rank's share.
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
        held_out: Batch | None = None,
        report: ClockReport = lambda clock: None,
        preview: Preview = lambda system, clock: None,
        track: Sequence[str] = (),
        resumed: Callable[[Sequence[str]], None] = lambda lines: None,
    ) -> None:
        if config.iterations is None and config.minutes is None:
            raise UsageError(
                "training needs a bound: set train.iterations or train.minutes in the recipe, or give --budget"
            )
        super().__init__(system, batches, config, folder, players or {}, facts or {}, device, ranks)
        self.report, self.preview, self.resumed, self.track = report, preview, resumed, tuple(track)
        self.held_out = held_out if ranks.first else None
        self.held_out_mean: dict[str, float] = {}  # by its name, as it was last measured
        self.watch = None if self.held_out is None else Watch(system, self.held_out.condition, device)
        self.signals = Signals()
        self.stop_asked: str | None = None
        self.said: list[str] = []  # what whoever started it should know
        self.notes: dict[str, float | Tensor] = {}
        if config.compile:
            compile_networks(self.players)

    # -- the loop ---------------------------------------------------------------------------------

    def run(self, begin: Callable[[], None] = lambda: None) -> Clock:
        """Train to the end of the budget, from the newest valid checkpoint if there is one.

        ``begin`` is called as soon as the folder is this training's own. Returns the clock; ``self.stop_asked`` names
        the signal if one ended it early (all is saved). ``self.said`` are lines on what was not as usual.

        Raises:
            RunInUse: another training is at work in the folder.
        """
        if not self.ranks.first:
            self.ranks.wait()
            return self._run()
        self.folder.mkdir(parents=True, exist_ok=True)
        with run_lock(self.folder):
            begin()
            self.ranks.wait()  # a run that lay in the folder has made room: only now may the others look into it
            return self._run()

    def _run(self) -> Clock:
        lines = self.resume()
        self.ranks.must_agree(self.round, self.folder)
        threads = self.threads.begin(self.kept_threads)
        lines = [*other_threads(self.kept_threads, self.threads.number), *lines]
        followed = trackers(self.folder, self.track, self.round) if self.ranks.first else []
        log = Log(self.folder, writes=self.ranks.first, trackers=followed)
        logged = log.rewind(self.round)
        for line in [*lines, f"computes in {self.steps.precision}", threads]:
            log.write(self.round, {"event": line})
        self.said += lines[:-1]  # the last says that it was resumed
        self.resumed(lines)
        self.system.train()
        previewed = measured = time.monotonic()
        reported = -math.inf  # the first round is logged: all later ones are compared with it
        saves = Saves(60 * self.config.save_minutes, previewed)
        with kept(self.device), self.signals.heeded():
            try:
                wait = self._measure_held_out(log, known=HELD_OUT_MEAN in logged)
                if self.round == 0:
                    self._show(log)
                while self.progress < 1 and not self._stopping():
                    start = time.monotonic()
                    self.play()
                    now = time.monotonic()
                    self.seconds += now - start
                    changed = self.threads.after(now - start)
                    if changed is not None:
                        log.write(self.round, {"event": changed})
                    show = now - previewed > 60 * self.config.preview_minutes
                    save = saves.due(now)
                    self.seconds, show_now, save_now = self.ranks.from_first([self.seconds, show, save])
                    self.keep_snapshot()  # here too, because a budget of minutes is known only now
                    self._look(log)
                    if now - reported > 0.5 or self.progress >= 1:
                        reported = now
                        log.write(self.round, {"seconds": self.seconds, "images": self.images, **self.notes})
                        if self.ranks.first:
                            self.report(self.clock())
                    if now - measured > wait or self.progress >= 1:
                        wait = self._measure_held_out(log)
                        measured = time.monotonic()
                    if show_now:
                        self._show(log)
                        previewed = time.monotonic()
                    if save_now and not self.steps.failing:
                        began = time.monotonic()
                        self.save()
                        saves.saved(began, time.monotonic())
                if not self._stopping():
                    self._show(log)
                self._end(log)
                log.write(self.round, {"event": f"stopped by {self.stop_asked}" if self.stop_asked else "finished"})
            except TrainingStopped as error:
                log.write(self.round, {**self.steps.notes(), "event": f"{FAILED}{error}"})
                raise
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
            if turns[-1].first:  # what began from the data may have been rounded differently
                self.ranks.align([*self.system.parameters()])
        self.notes = {**self.notes, **_mean_notes(turns), **self.steps.notes()}
        self.round += 1
        self.skipped += self.steps.bad_total > bad
        if self.averaging is not None:
            decay = warmed_decay(self.config.ema, self.round) if self.config.ema_warmup else self.config.ema
            self.averaging.update(decay)
        if self.posthoc is not None:
            self.posthoc.update(self.round)
            self.keep_snapshot()

    def _draw(self) -> list[Turn]:
        batch = self.batches.next()
        self.images += len(batch) * self.ranks.size
        return [self.turn_of(part, self.rng) for part in self.parts_of(batch)]

    # -- the clock, and what is called now and then -----------------------------------------------

    def clock(self) -> Clock:
        done = self.progress
        remaining = self.seconds * (1 - done) / done if done > 0 and self.seconds > 0 else None
        notes = {k: float(v) for k, v in self.notes.items()} | self.held_out_mean
        return Clock(self.round, self.images, self.seconds, done, remaining, notes)

    def _stopping(self) -> bool:
        if self.stop_asked is None and self.ranks.any(self.signals.asked is not None):
            self.stop_asked = self.signals.asked or "a signal to another process"
        return self.stop_asked is not None

    def _measure_held_out(self, log: Log, known: bool = False) -> float:
        """Log what the system says of the held-out examples; returns the seconds to let pass before it is done again.

        Where it is ``known``, since the log has it of this round already, nothing is written. Nothing of the training
        moves: the noise is a stream of its own, the same each time.
        """
        if self.held_out is None or self.signals.asked:
            return math.inf
        start = time.monotonic()
        found: Mapping[str, Tensor] = {}
        batch, rng = self.held_out.to(self.device).floats(), Stream(self.config.seed, "held-out")
        try:
            with torch.no_grad(), autocast(self.device, self.steps.precision), self.signals.callback():
                found = self.best.eval().held_out(batch, rng)
        finally:
            self.system.train()
        if not found:
            return math.inf
        values = {name: float(value) for name, value in found.items()}
        mean = sum(values.values()) / len(values)
        lines = {f"{HELD_OUT}{name}": value for name, value in {**values, "mean": mean}.items()}
        if not known:
            log.write(self.round, {"seconds": self.seconds, "images": self.images, **lines})
        self.held_out_mean = {HELD_OUT_MEAN: mean}
        return PATIENCE * (time.monotonic() - start)

    def _look(self, log: Log) -> None:
        """Log what the system makes, where that is due."""
        if self.watch is None or not self.watch.due(self.progress, self.seconds) or self.signals.asked:
            return
        seen: Mapping[str, float] = {}
        with self.signals.callback():
            seen = self.watch.look(self.steps.precision)
        if seen:
            log.write(self.round, {"seconds": self.seconds, "images": self.images, **seen})

    def _show(self, log: Log) -> None:
        if self.ranks.first and not self.signals.asked:
            try:
                with torch.no_grad(), self.signals.callback():
                    self.measure_norms()
                    sheet = self.preview(self.best.eval(), self.clock())
                    if sheet is not None:
                        log.picture(self.round, sheet)
            finally:
                self.system.train()


def _mean_notes(turns: Sequence[Turn]) -> dict[str, float | Tensor]:
    """The notes of all parts of a batch: each the mean over those that have it."""
    if len(turns) == 1:
        return turns[0].notes
    by_name: dict[str, list[float]] = {}
    for turn in turns:
        for name, value in turn.notes.items():
            by_name.setdefault(name, []).append(float(value))
    return {name: sum(values) / len(values) for name, values in by_name.items()}
