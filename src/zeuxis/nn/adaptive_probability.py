"""A probability that follows a heuristic of overfitting, as StyleGAN2-ADA has it (2006.06676, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.errors import UsageError, must_be_within


class AdaptiveProbability(nn.Module):
    """``p`` rises while the discriminator gives too many real pictures a logit above zero, and falls otherwise.

    r_t = E[sign D(x)] over ``every`` rounds is held against ``target``; p moves by the pictures seen since, as a share
    of ``speed``: the number of them in which it goes from 0 to 1. It stays within [0, 1]. Raises :class:`UsageError`
    for a ``start`` that is not, for a ``speed`` not above 0 and for ``every`` below 1.
    """

    value: Tensor
    signs: Tensor
    seen: Tensor
    rounds: Tensor

    def __init__(self, *, target: float = 0.6, every: int = 4, speed: float = 500_000, start: float = 0.0) -> None:
        super().__init__()
        if not 0 <= start <= 1:
            raise UsageError(f"start is {start:g}: p is a probability, so begin it between 0 and 1")
        must_be_within(-1, 1, target=target)
        if not speed > 0:
            raise UsageError(f"speed is {speed:g}: give the pictures in which p goes from 0 to 1, more than 0")
        if every < 1:
            raise UsageError(f"every is {every}: p moves once in so many rounds, so give 1 or more")
        self.target, self.every, self.speed = target, every, speed
        self.register_buffer("value", torch.tensor(float(start)))
        for name in ("signs", "seen", "rounds"):  # since the last move: sums, and of how many
            self.register_buffer(name, torch.zeros(()))

    @property
    def p(self) -> float:
        """Now."""
        return float(self.value)

    def update(self, signs: Tensor) -> float | None:
        """Take in the signs ``(B,)`` of a round's logits of real pictures; r_t where p has moved by it."""
        self.signs += signs.float().sum()
        self.seen += len(signs)
        self.rounds += 1
        if self.rounds < self.every:
            return None
        heuristic = float(self.signs / self.seen)
        step = float(self.seen) / self.speed
        over = heuristic - self.target
        self.value += step if over > 0 else -step if over < 0 else 0.0
        self.value.clamp_(0, 1)
        for total in (self.signs, self.seen, self.rounds):
            total.zero_()
        return heuristic
