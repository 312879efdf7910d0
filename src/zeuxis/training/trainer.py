"""The one training loop: it plays any game and never knows which.

It owns everything that a method must not: optimisers, precision, accumulation, clipping, the
average, the clock, checkpoints, signals and the guard against non-finite numbers.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.errors import TrainingStopped, UnknownName, UsageError, WeightsError
from zeuxis.game import Player, System, Turn, play_round
from zeuxis.recipe import Train
from zeuxis.rng import Stream
from zeuxis.training.checkpoint import Checkpoints, Tensors, write_model
from zeuxis.training.ema import ema_copy, update_ema, warmed_decay
from zeuxis.training.log import Log
from zeuxis.training.optimiser import BUILDERS, DECAYS, flat_state, learning_rate, restore_flat


class Draws(Protocol):
    """An endless stream of batches whose place can be saved."""

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


class Interrupted(Exception):
    """A signal asked to stop while a callback was at work."""


Report = Callable[[Clock], None]
Preview = Callable[[System, Clock], None]


class Trainer:
    """Plays ``system``'s game on ``stream`` within ``plan``'s budget.

    ``folder`` receives ``log.jsonl``, ``checkpoints/`` and ``model/``; ``facts`` go into the model's
    card. ``report(clock)`` is called about twice a second; ``preview(system, clock)`` now and then,
    with the averaged system in evaluation mode, and may take its time: a signal interrupts it.
    """

    def __init__(
        self,
        system: System,
        stream: Draws,
        plan: Train,
        folder: Path,
        *,
        players: dict[str, dict[str, Any]] | None = None,
        facts: dict[str, Any] | None = None,
        device: str = "cpu",
        report: Report = lambda clock: None,
        preview: Preview = lambda system, clock: None,
    ) -> None:
        if plan.rounds is None and plan.minutes is None:
            raise UsageError(
                "training needs a bound: set train.rounds or train.minutes in the recipe, or give --budget"
            )
        self.system, self.stream, self.plan, self.folder = system.to(device), stream, plan, folder
        self.device, self.facts, self.report, self.preview = device, facts or {}, report, preview
        if plan.channels_last:
            self.system.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.players = _override(system.players(), players or {})
        self.optimisers = {p.name: BUILDERS[p.optimiser](p) for p in self.players}
        self.average = ema_copy(system) if plan.ema else None
        self.rng = Stream(plan.seed, "moves")
        self.checkpoints = Checkpoints(folder / "checkpoints", plan.keep)
        self.round = self.images = self.bad_total = 0
        self.bad = dict.fromkeys((p.name for p in self.players), 0)  # non-finite steps in a row
        self.seconds = 0.0
        self.notes: dict[str, float | Tensor] = {}
        self.stop_asked: str | None = None
        self._interruptible = False
        if plan.compile:
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
        self.folder.mkdir(parents=True, exist_ok=True)
        log = Log(self.folder)
        for line in self.resume():
            log.write(self.round, {"event": line})
        log.rewind(self.round)
        self.system.train()
        saved = previewed = reported = time.monotonic()
        with self._signals():
            try:
                if self.round == 0:
                    self._show()
                while self.progress < 1 and self.stop_asked is None:
                    start = time.monotonic()
                    self.play()
                    now = time.monotonic()
                    self.seconds += now - start
                    if now - reported > 0.5 or self.progress >= 1:
                        reported = now
                        log.write(self.round, {"seconds": self.seconds, "images": self.images, **self.notes})
                        self.report(self.clock())
                    if now - previewed > 60 * self.plan.preview_minutes:
                        self._show()
                        previewed = time.monotonic()
                    if now - saved > 60 * self.plan.save_minutes:
                        self.save()
                        saved = time.monotonic()
                self._end(log)
            finally:
                log.close()
        return self.clock()

    def _end(self, log: Log) -> None:
        if self.stop_asked is None:
            self._show()
        self.save()
        log.write(self.round, {"event": f"stopped by {self.stop_asked}" if self.stop_asked else "finished"})

    def play(self) -> None:
        """One round, and what follows it."""
        turns = play_round(self.system, self.players, self._draw, self._step)
        self.notes = {**self.notes, **turns[-1].notes}
        self.round += 1
        if self.average is not None:
            decay = warmed_decay(self.plan.ema, self.round) if self.plan.ema_warmup else self.plan.ema
            update_ema(self.average, self.system, decay)

    def _draw(self) -> list[Turn]:
        batch = self.stream.next()
        self.images += len(batch)
        parts = self.plan.accumulate
        size = -(-len(batch) // parts)
        notes: dict[str, float | Tensor] = {}
        return [
            Turn(batch[slice(i, i + size)].to(self.device), self.rng, self.round, self.progress, notes)
            for i in range(0, len(batch), size)
        ]

    def _step(self, player: Player, loss: Callable[[Turn], Tensor | None], turns: Sequence[Turn]) -> None:
        optimiser = self.optimisers[player.name]
        optimiser.zero_grad(set_to_none=True)
        total: Tensor | None = None
        for turn in turns:
            with torch.autocast(
                torch.device(self.device).type, dtype=torch.bfloat16, enabled=self.plan.precision == "bfloat16"
            ):
                value = loss(turn)
            if value is not None:
                value = value * (len(turn.batch) / sum(len(t.batch) for t in turns))
                value.backward()
                total = value.detach() if total is None else total + value.detach()
        if total is None:
            return  # the player passes
        grads = [p.grad for p in player.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        if not (torch.isfinite(total) and torch.isfinite(norm)):
            self._bad_step(player, float(total), float(norm))
            return
        self.bad[player.name] = 0
        if player.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(player.parameters(), player.clip, norm)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(player, self.round, self.progress)
        optimiser.step()
        turns[-1].notes[f"loss/{player.name}"] = total

    def _bad_step(self, player: Player, loss: float, norm: float) -> None:
        self.bad[player.name] += 1
        self.bad_total += 1
        self.notes["bad_steps"] = self.bad_total
        if self.bad[player.name] > self.plan.max_bad_rounds:
            raise TrainingStopped(
                f"{self.bad[player.name]} steps in a row were not finite (round {self.round}, player '{player.name}', "
                f"loss {loss}, gradient norm {norm}): set players.{player.name}.clip or lower its lr; "
                f"the last good checkpoint is in {self.checkpoints.folder}"
            )

    # -- the clock --------------------------------------------------------------------------------

    @property
    def progress(self) -> float:
        """Of the budget, in [0, 1]: by rounds or by minutes, whichever is further."""
        by_rounds = self.round / self.plan.rounds if self.plan.rounds else 0.0
        by_time = self.seconds / (60 * self.plan.minutes) if self.plan.minutes else 0.0
        return min(1.0, max(by_rounds, by_time))

    def clock(self) -> Clock:
        done = self.progress
        remaining = self.seconds * (1 - done) / done if done > 0 and self.seconds > 0 else None
        notes = {k: float(v) for k, v in self.notes.items()}
        return Clock(self.round, self.images, self.seconds, done, remaining, notes)

    # -- callbacks and signals --------------------------------------------------------------------

    def _show(self) -> None:
        self._interruptible = True
        try:
            # Interrupted means that a signal came: stop_asked says which, and the state was not touched.
            with torch.no_grad(), suppress(Interrupted):
                self.preview(self.best.eval(), self.clock())
        finally:
            self._interruptible = False
            self.system.train()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def ask(number: int, frame: FrameType | None) -> None:
            self.stop_asked = signal.Signals(number).name
            if self._interruptible:
                self._interruptible = False
                raise Interrupted

        try:
            before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: whoever started it must stop it
            before = {}
        try:
            yield
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)

    # -- saving and resuming ----------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint and the model. Refuses to save weights that are not finite."""
        tensors: Tensors = {f"system/{k}": v for k, v in self.system.state_dict().items()}
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise TrainingStopped(
                    f"{name} is not finite after round {self.round}, so it was not saved: lower the learning rate; "
                    f"the last good checkpoint is in {self.checkpoints.folder}"
                )
        if self.average is not None:
            shared = {t.data_ptr() for t in tensors.values()}
            state = self.average.state_dict().items()
            tensors |= {f"average/{k}": v for k, v in state if v.data_ptr() not in shared}
        for name, optimiser in self.optimisers.items():
            tensors |= {f"optimiser/{name}/{k}": v for k, v in flat_state(optimiser).items()}
        tensors["rng"] = self.rng.state()
        come = {"round": self.round, "images": self.images, "seconds": self.seconds}
        self.checkpoints.save(self.round, tensors, {**come, "bad_total": self.bad_total, "stream": self.stream.state()})
        write_model(self.folder / "model", self.best, {**self.facts, **come})

    def resume(self) -> list[str]:
        """Go back to the newest valid checkpoint; returns lines on what was passed over."""
        found = self.checkpoints.newest()
        if found is None:
            return []
        tensors, facts, passed = found
        groups: dict[str, Tensors] = {}
        for key, tensor in tensors.items():
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = tensor
        try:
            self.system.load_state_dict(groups["system"])
            if self.average is not None:
                self.average.load_state_dict({**groups["system"], **groups.get("average", {})})
        except RuntimeError as error:
            raise WeightsError(
                f"the checkpoint in {self.checkpoints.folder} does not fit this recipe's networks: "
                f"{str(error).splitlines()[-1].strip()}; use another --out, or the recipe that it was trained with"
            ) from None
        for name, optimiser in self.optimisers.items():
            prefix = f"{name}/"
            flat = {k.removeprefix(prefix): v for k, v in groups.get("optimiser", {}).items() if k.startswith(prefix)}
            restore_flat(optimiser, flat)
        self.rng.restore(tensors["rng"])
        self.stream.restore(facts["stream"])
        self.round, self.images, self.seconds = facts["round"], facts["images"], facts["seconds"]
        self.bad_total = facts["bad_total"]
        return [*passed, f"resumed after round {self.round}"]


def _override(players: Sequence[Player], tables: dict[str, dict[str, Any]]) -> tuple[Player, ...]:
    """The game's players with a recipe's ``[players.NAME]`` tables applied."""
    known = {p.name: p for p in players}
    for name, table in tables.items():
        if name not in known:
            raise UnknownName("player", name, known)
        allowed = set(Player.__dataclass_fields__) - {"name", "nets"}
        for key in table:
            if key not in allowed:
                raise UnknownName(f"key of players.{name}:", key, allowed)
        changes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
        known[name] = replace(known[name], **changes)
        if known[name].optimiser not in BUILDERS:
            raise UnknownName("optimiser", known[name].optimiser, BUILDERS)
        if known[name].decay not in DECAYS:
            raise UnknownName("decay", known[name].decay, DECAYS)
    return tuple(known.values())
