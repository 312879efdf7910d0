"""The average of a system over its rounds (EMA): a deep copy of it that shares its frozen parts."""

from __future__ import annotations

import copy

import torch

from zeuxis.game import System


def ema_copy(system: System) -> System:
    """A copy to average into: same class, same verbs, frozen parts shared, no gradients."""
    memo = {id(part): part for part in system.frozen}
    return copy.deepcopy(system, memo).requires_grad_(False).eval()


@torch.no_grad()
def update_ema(average: System, system: System, decay: float) -> None:
    """``average <- decay * average + (1 - decay) * system`` for parameters; buffers are copied."""
    mine, theirs = dict(average.named_parameters()), dict(system.named_parameters())
    moving = [name for name in mine if mine[name] is not theirs[name]]
    torch._foreach_lerp_([mine[n] for n in moving], [theirs[n].detach() for n in moving], 1 - decay)
    buffers = dict(system.named_buffers())
    for name, buffer in average.named_buffers():
        if buffer is not buffers[name]:
            buffer.copy_(buffers[name])


def warmed_decay(decay: float, rounds: int) -> float:
    """The decay in round ``rounds`` while the average is young, so that it forgets its start soon."""
    return min(decay, (1 + rounds) / (10 + rounds))
