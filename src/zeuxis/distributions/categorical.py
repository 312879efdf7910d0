"""A choice among K values, independently at every place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

COLDEST = 1e-30  # a temperature by which logits divided would be infinite


@dataclass(frozen=True, slots=True)
class Categorical:
    """K logits ``(B, ..., K)`` at every place."""

    logits: Tensor

    def log_prob(self, values: Tensor) -> Tensor:
        """log P of each of the values ``(B, ...)`` int64 in [0, K), ``(B, ...)``: not summed over places."""
        return self.logits.float().log_softmax(-1).gather(-1, values[..., None])[..., 0]

    def from_uniform(self, u: Tensor, temperature: float = 1.0) -> Tensor:
        """Values ``(B, ...)`` int64 where the cumulative probability passes ``u`` (B, ...) in [0, 1).

        The logits are divided by ``temperature`` first; at 0 the likeliest value is taken. It is computed in the
        logits' dtype, float32 or wider.
        """
        if temperature < COLDEST:
            return self.logits.argmax(-1)
        logits = self.logits.to(torch.promote_types(self.logits.dtype, torch.float32))
        cumulative = (logits / temperature).softmax(-1).cumsum(-1)  # (B, ..., K)
        passed = cumulative <= u[..., None] * cumulative[..., -1:]  # of the sum as rounded, so that none is missing
        return passed.sum(-1).clamp(max=self.logits.shape[-1] - 1).to(torch.int64)
