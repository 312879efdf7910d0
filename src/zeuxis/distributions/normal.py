"""Normal distributions: independent numbers, and the standard one that flows have for a base."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from zeuxis.distributions.reduce import per_image
from zeuxis.rng import Rng

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True, slots=True)
class Normal:
    """N(mean, exp(logvar)) of independent numbers: ``mean`` ``(B, ...)``, and ``logvar`` that broadcasts against it."""

    mean: Tensor
    logvar: Tensor

    @property
    def std(self) -> Tensor:
        """The standard deviations, of the shape of ``logvar``."""
        return (0.5 * self.logvar).exp()

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density of ``x`` (B, ...), ``(B,)``."""
        squares, precision = mse_loss(self.mean, x, reduction="none"), (-self.logvar).exp()
        if self.logvar.ndim == 0:  # one for all numbers: it scales their sum
            return -0.5 * (x.shape[1:].numel() * (LOG_2PI + self.logvar) + per_image(squares) * precision)
        return -0.5 * per_image(LOG_2PI + self.logvar + squares * precision)

    def sample(self, rng: Rng, temperature: float = 1.0) -> Tensor:
        """A draw ``(B, ...)``, differentiable in both parameters; ``temperature`` scales the standard deviation."""
        return self.mean + temperature * self.std * rng.normal(*self.mean.shape, device=self.mean.device)

    def kl(self, other: Normal) -> Tensor:
        """KL(self || other), ``(B,)``."""
        squares = self.logvar.exp() + (self.mean - other.mean).square()
        return per_image(0.5 * (other.logvar - self.logvar - 1 + squares * (-other.logvar).exp()))

    def kl_standard(self) -> Tensor:
        """KL(self || N(0, I)), ``(B,)`` (Kingma & Welling 2013, appendix B)."""
        return 0.5 * per_image(self.mean.square() + self.logvar.exp() - 1 - self.logvar)


@dataclass(frozen=True, slots=True)
class StandardNormal:
    """N(0, I_d)."""

    d: int

    def log_prob(self, z: Tensor) -> Tensor:
        """The log-density of ``z`` (B, d), ``(B,)``, in its dtype."""
        return -0.5 * z.square().sum(1) - 0.5 * self.d * LOG_2PI

    def sample(self, n: int, rng: Rng, temperature: float = 1.0, device: torch.device | str = "cpu") -> Tensor:
        """``n`` draws ``(n, d)``; ``temperature`` scales them."""
        return temperature * rng.normal(n, self.d, device=device)
