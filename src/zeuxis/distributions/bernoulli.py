"""Independent variables of two values."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from zeuxis.distributions.reduce import per_image


@dataclass(frozen=True, slots=True)
class Bernoulli:
    """1 with probability sigmoid(``logits``), else 0; ``logits`` (B, ...)."""

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        """The probability of 1, ``(B, ...)``."""
        return self.logits.sigmoid()

    def log_prob(self, x: Tensor) -> Tensor:
        """log P of ``x`` (B, ...) of 0 and 1, ``(B,)``.

        Of values between, the negative cross-entropy, which is no likelihood.
        """
        return -per_image(binary_cross_entropy_with_logits(self.logits, x, reduction="none"))
