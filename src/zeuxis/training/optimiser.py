"""From a player's wishes to a torch optimiser, and its state to flat tensors and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zeuxis.errors import WeightsError
from zeuxis.game import Player

BUILDERS: dict[str, Callable[[Player], torch.optim.Optimizer]] = {
    "adam": lambda p: torch.optim.Adam(p.parameters(), p.lr, p.betas, weight_decay=p.weight_decay),
    "adamw": lambda p: torch.optim.AdamW(p.parameters(), p.lr, p.betas, weight_decay=p.weight_decay),
    "radam": lambda p: torch.optim.RAdam(p.parameters(), p.lr, p.betas, weight_decay=p.weight_decay),
    "rmsprop": lambda p: torch.optim.RMSprop(p.parameters(), p.lr, alpha=p.betas[1], weight_decay=p.weight_decay),
    "sgd": lambda p: torch.optim.SGD(p.parameters(), p.lr, momentum=p.betas[0], weight_decay=p.weight_decay),
}

DECAYS: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
}


def learning_rate(player: Player, round: int, progress: float) -> float:
    """The player's learning rate in ``round``: linear warm-up, then its decay over the budget."""
    warm = min(1.0, (round + 1) / player.warmup) if player.warmup else 1.0
    return player.lr * warm * DECAYS[player.decay](min(progress, 1.0))


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
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"the checkpoint's optimiser state does not fit this game: {error}") from None
