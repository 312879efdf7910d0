"""A flow: invertible maps and the distribution of what they make of the data. A new flow is a list of its parts.

The change of variables (Rezende & Mohamed 2015, arXiv:1505.05770, Eq. 5): log p(x) = log p(z) + log |det dz/dx|.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.distributions.bijection import Bijection, Composition
from zeuxis.distributions.normal import StandardNormal
from zeuxis.rng import Rng


@dataclass(frozen=True, slots=True)
class Flow:
    """The distribution of ``maps`` inverted, from a draw of ``base``; itself an invertible map of data to latents."""

    maps: tuple[Bijection, ...]
    base: StandardNormal

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Latents ``(B, d)`` and log |det dz/dx| ``(B,)``."""
        return Composition(self.maps).forward_and_log_det(x)

    def inverse(self, z: Tensor) -> Tensor:
        """Data ``(B, ...)`` of latents ``(B, d)``."""
        return Composition(self.maps).inverse(z)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats ``(B,)``: exact."""
        z, log_det = self.forward_and_log_det(x)
        return self.base.log_prob(z) + log_det

    def sample(self, n: int, rng: Rng, temperature: float = 1.0, device: torch.device | str = "cpu") -> Tensor:
        """``n`` draws ``(n, ...)``; ``temperature`` scales the latents."""
        return self.inverse(self.base.sample(n, rng, temperature, device))
