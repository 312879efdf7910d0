"""One step of one player: loss, gradients, clipping, learning rate, and the guard against non-finite numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zeuxis.errors import TrainingStopped
from zeuxis.game import Player, System, Turn
from zeuxis.recipe import Train
from zeuxis.training.buffers import KeptBuffers
from zeuxis.training.checkpoint import Checkpoints
from zeuxis.training.compiling import of_compiler
from zeuxis.training.distributed import Ranks
from zeuxis.training.log import GRADIENT, RATE
from zeuxis.training.norms import of_pictures
from zeuxis.training.optimiser import has_schedule, optimiser_of, set_rate
from zeuxis.training.precision import Scaler, autocast, precision_of

GROWN = 1e4  # a weight beyond it is of a player that has exploded: those of sound networks are near 1
CLIP_GUARD = 1e-6  # what torch adds to a norm before it divides by it


class Steps:
    """The optimisers (and in float16 the scalers) of all players. Called with a player, it lowers its loss once.

    A step that is not finite is left out: neither weights nor buffers are what it made of them.
    """

    def __init__(
        self,
        system: System,
        players: Sequence[Player],
        config: Train,
        device: str,
        ranks: Ranks,
        checkpoints: Checkpoints,
    ) -> None:
        self.config, self.device, self.ranks, self.checkpoints = config, device, ranks, checkpoints
        self.optimisers = {p.name: optimiser_of(p) for p in players}
        self.precision = precision_of(config.precision, device)
        self.scalers = {p.name: Scaler(device) for p in players if self.precision == "float16"}
        self.buffers = KeptBuffers(system)
        self.players = players
        self.bad = dict.fromkeys((p.name for p in players), 0)  # non-finite steps in a row
        self.bad_total = 0
        self.first_bad = ("", "")  # of the players whose last step was not finite the one that was so first, and when

    def __call__(self, player: Player, loss: Callable[[Turn], Tensor | None], turns: Sequence[Turn]) -> bool:
        """Returns whether the step was finite: so is one that passes, and one whose scale alone was too large."""
        optimiser, scaler = self.optimisers[player.name], self.scalers.get(player.name)
        self.buffers.keep()
        parameters = player.parameters()
        for p in parameters:
            p.grad = None
        total = self._gradients(loss, turns, parameters, scaler)
        if not self.ranks.any(total is not None):
            return True  # the player passes
        if total is None:  # here alone: others wait for its share of the gradients, which is none
            total = torch.zeros((), device=self.device)
        self.ranks.average_gradients(parameters)
        total = self.ranks.mean(total)
        if scaler is not None:
            scaler.unscale(optimiser)
        norm = total_norm([p.grad for p in parameters if p.grad is not None])
        finite = math.isfinite(float(total + norm))
        if finite:
            self.bad[player.name] = 0
            if player.clip is not None and norm + CLIP_GUARD > player.clip:  # below it, clipping multiplies by 1
                torch.nn.utils.clip_grads_with_norm_(parameters, player.clip, norm)
            last = turns[-1]
            rate = set_rate(optimiser, player, last.round, last.progress if last.spent is None else last.spent)
            optimiser.step()
            last.notes |= {f"loss/{player.name}": total, f"{GRADIENT}{player.name}": norm}
            if has_schedule(player):
                last.notes[f"{RATE}{player.name}"] = rate
        elif scaler is not None and scaler.scale > 1 and torch.isfinite(total):
            scaler.halve()  # the step is left out: it was the scale that was too large
            return True
        else:
            self.buffers.put_back()
            self._bad_step(player, turns[-1].round, float(total), float(norm))
        if scaler is not None:
            scaler.update()
        return finite

    @property
    def failing(self) -> bool:
        """Whether some player's last step was not finite."""
        return any(self.bad.values())

    def _gradients(
        self,
        loss: Callable[[Turn], Tensor | None],
        turns: Sequence[Turn],
        parameters: Sequence[Tensor],
        scaler: Scaler | None,
    ) -> Tensor | None:
        """Add the gradients of the mean loss over the turns; returns it, None if the player passes."""
        total: Tensor | None = None
        images = sum(len(turn.batch) for turn in turns)
        for turn in turns:
            with of_compiler(), of_pictures(turn), autocast(self.device, self.precision):
                value = loss(turn)
            if value is not None:
                value = value if len(turns) == 1 else value * (len(turn.batch) / images)
                (value if scaler is None else scaler(value)).backward(inputs=parameters)
                total = value.detach() if total is None else total + value.detach()
        return total

    def notes(self) -> dict[str, float]:
        """What the log should know of all steps so far."""
        bad = {"bad_steps": float(self.bad_total)} if self.bad_total else {}
        return bad | {f"scale/{name}": scaler.scale for name, scaler in self.scalers.items()}

    def _bad_step(self, player: Player, round: int, loss: float, norm: float) -> None:
        if not self.failing:
            self.first_bad = player.name, f"iteration {round}, loss {loss}, gradient norm {norm}"
        self.bad[player.name] += 1
        self.bad_total += 1
        if self.bad[player.name] > self.config.max_bad_iterations:
            first, when = self.first_bad
            blamed, grown = self._exploded(first)
            why = f": the weights of '{blamed}' have grown to {grown:.3g}" if blamed != first else ""
            mend = f"set players.{blamed}.clip or lower its lr"
            if self.precision == "float16":
                mend = (
                    f"set train.precision=float32, for float16 overflows beyond 65,504, or {mend.removeprefix('set ')}"
                )
            raise TrainingStopped(
                f"{self.bad[player.name]} steps in a row were not finite, first of player '{first}' ({when}){why}: "
                f"{mend}; {self.checkpoints.last_good()}"
            )

    def _exploded(self, first: str) -> tuple[str, float]:
        """The player to blame for steps that are not finite, and its largest weight: ``first``, whose step was so
        first, unless its own weights are sound and those of another have grown, which its loss meets first."""
        largest = {p.name: largest_of(p.parameters()) for p in self.players}
        grown = max(largest, key=lambda name: largest[name])
        blamed = grown if largest[first] <= GROWN < largest[grown] else first
        return blamed, largest[blamed]


@torch.no_grad()
def total_norm(gradients: list[Tensor]) -> Tensor:
    """The Euclidean norm of all numbers of ``gradients``, which are on one device."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))) if gradients else torch.zeros(())


@torch.no_grad()
def largest_of(parameters: Sequence[Tensor]) -> float:
    """The largest size of a number in ``parameters``; infinite where one is no number."""
    sizes = (float(p.abs().max()) for p in parameters if p.numel())
    return max((math.inf if math.isnan(size) else size for size in sizes), default=0.0)
