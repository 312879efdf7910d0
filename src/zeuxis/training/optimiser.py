"""From a player's wishes to a torch optimiser, its learning rate, and its state to flat tensors and back."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zeuxis.errors import UnknownName, UsageError, WeightsError, is_out_of_memory, lookup
from zeuxis.game import Player, trainable
from zeuxis.training.muon import Muon

FUSED = ("cpu", "cuda")  # devices with one kernel for all of Adam's step


def fusible(player: Player) -> bool | None:
    """Whether one kernel can make the player's step; None leaves the choice to torch."""
    return all(p.is_floating_point() and p.device.type in FUSED for p in player.parameters()) or None


OPTIMISERS: dict[str, Callable[[Player], torch.optim.Optimizer]] = {
    "adam": lambda p: torch.optim.Adam(groups_of(p), p.lr, p.betas, weight_decay=p.weight_decay, fused=fusible(p)),
    "adamw": lambda p: torch.optim.AdamW(groups_of(p), p.lr, p.betas, weight_decay=p.weight_decay, fused=fusible(p)),
    "radam": lambda p: torch.optim.RAdam(groups_of(p), p.lr, p.betas, weight_decay=p.weight_decay),
    "rmsprop": lambda p: torch.optim.RMSprop(groups_of(p), p.lr, alpha=p.betas[1], weight_decay=p.weight_decay),
    "muon": lambda p: Muon(groups_of(p), p.lr, p.betas, weight_decay=p.weight_decay),
    "sgd": lambda p: torch.optim.SGD(groups_of(p), p.lr, momentum=p.betas[0], weight_decay=p.weight_decay),
}


def optimiser_of(player: Player) -> torch.optim.Optimizer:
    """The player's optimiser, each of whose steps ends within ``player.bound``."""
    made = OPTIMISERS[player.optimiser](player)
    bound = player.bound
    if bound is not None:
        weights: list[Tensor] = [*player.parameters()]

        @torch.no_grad()
        def keep_in_bounds(*_: object) -> None:
            for w in weights:
                w.clamp_(-bound, bound)

        made.register_step_post_hook(keep_in_bounds)
    return made


DECAYS: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "linear-after-half": lambda progress: min(1.0, 2.0 * (1.0 - progress)),
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
}


def groups_of(player: Player) -> list[dict[str, Any]]:
    """The player's parameter groups as torch takes them; ``rate`` is what its learning rate is multiplied by."""
    found: list[dict[str, Any]] = []
    taken: set[int] = set()
    for group in player.groups:
        own = [p for p in trainable(group.nets) if id(p) not in taken]
        taken |= {id(p) for p in own}
        decay = player.weight_decay if group.weight_decay is None else group.weight_decay
        found.append({"params": own, "rate": group.rate, "lr": player.lr * group.rate, "weight_decay": decay})
    rest = {"params": [p for p in trainable(player.nets) if id(p) not in taken], "rate": 1.0}
    return [group for group in (rest, *found) if group["params"]] or [rest]


def learning_rate(player: Player, round: int, progress: float) -> float:
    """The player's learning rate in ``round``: linear warm-up, times its schedule over the budget."""
    warm = min(1.0, (round + 1) / player.warmup) if player.warmup else 1.0
    schedule = player.decay if callable(player.decay) else DECAYS[player.decay]
    return player.lr * warm * schedule(min(progress, 1.0))


def set_rate(optimiser: torch.optim.Optimizer, player: Player, round: int, progress: float) -> float:
    """Give every group of the optimiser its learning rate in ``round``; returns the player's own."""
    rate = learning_rate(player, round, progress)
    for group in optimiser.param_groups:
        group["lr"] = rate * group["rate"]
    return rate


def has_schedule(player: Player) -> bool:
    """Whether its learning rate changes in a training."""
    return player.warmup > 0 or player.decay != "constant"


def _number(value: Any) -> bool:
    """Whether ``value`` is a finite number of 0 or more, as far as floating point goes."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max


def _positive_or_none(value: Any) -> bool:
    return value is None or (_number(value) and value > 0)


NUMBERS: Mapping[str, tuple[Callable[[Any], bool], str]] = {  # what a number of a player may be, and that in words
    "lr": (_number, "a learning rate, a number of 0 or more such as 2e-4"),
    "betas": (
        lambda v: isinstance(v, (list, tuple)) and len(v) == 2 and all(_number(b) and b < 1 for b in v),
        "two numbers from 0 to below 1, such as [0.9, 0.999]",
    ),
    "weight_decay": (_number, "a number of 0 or more, such as 0.01"),
    "clip": (_positive_or_none, "the largest norm of the gradient, a number above 0, such as 1.0"),
    "bound": (_positive_or_none, "the largest size of a weight, a number above 0, such as 0.01"),
    "warmup": (lambda v: isinstance(v, int) and _number(v), "a whole number of iterations, such as 500"),
}


def overridden(players: Sequence[Player], tables: dict[str, dict[str, Any]]) -> tuple[Player, ...]:
    """The game's players with a recipe's ``[players.NAME]`` tables applied."""
    known = {p.name: p for p in players}
    for name, table in tables.items():
        if name not in known:
            raise UnknownName("player", name, known)
        allowed = set(Player.__dataclass_fields__) - {"name", "nets", "groups"}
        for key in table:
            if key not in allowed:
                raise UnknownName(f"key of players.{name}:", key, allowed)
        for key, choices in (("optimiser", OPTIMISERS), ("decay", DECAYS)):
            value = table.get(key, next(iter(choices)))
            if not isinstance(value, str):
                raise UsageError(
                    f"players.{name}.{key} is {value!r}: give the name of one, such as {next(iter(choices))}"
                )
            lookup(key, value, choices)
        changes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
        # Whole numbers may be larger than torch takes.
        changes |= {k: float(v) for k, v in changes.items() if k in NUMBERS and k != "warmup" and _number(v)}
        known[name] = replace(known[name], **changes)
    for player in known.values():
        check_player(player)
    return tuple(known.values())


def check_player(player: Player) -> None:
    """Refuse numbers that no optimiser can work with, the system's own too; UsageError with key, value and range."""
    for key, (fits, wanted) in NUMBERS.items():
        value = getattr(player, key)
        if not fits(value):
            spelt = list(value) if isinstance(value, tuple) else value  # as a recipe has it
            raise UsageError(f"players.{player.name}.{key} is {spelt!r}: give {wanted}")


def flat_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as tensors named ``<parameter number>.<what>``."""
    state: dict[int, dict[str, Any]] = optimiser.state_dict()["state"]
    return {
        f"{i}.{what}": torch.as_tensor(value)
        for i, s in state.items()
        for what, value in s.items()
        if value is not None
    }


def restore_flat(optimiser: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    """Put back what :func:`flat_state` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in flat.items():
        number, _, what = name.partition(".")
        state.setdefault(int(number), {})[what] = tensor
    try:
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        for group in optimiser.param_groups:
            for p in group["params"]:
                laid_out_alike(p, optimiser.state.get(p, {}))
    except (ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise WeightsError(f"the checkpoint's optimiser state does not fit this game: {error}") from None


def laid_out_alike(p: Tensor, state: dict[str, Any]) -> None:
    """Give what is kept of each number of ``p`` the layout of ``p`` in memory (channels last, say).

    A checkpoint has none, and the kernel that makes the whole of Adam's step walks all tensors side by side.
    """
    for what, value in state.items():
        if isinstance(value, Tensor) and value.shape == p.shape and value.stride() != p.stride():
            state[what] = torch.empty_like(p, dtype=value.dtype, requires_grad=False).copy_(value)
