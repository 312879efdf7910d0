"""The masked affine map of autoregressive flows (Papamakarios et al. 2017, arXiv:1705.07057, section 3.1).

Symbols -> code: x_i -> x    u_i -> y    mu_i -> shift    alpha_i -> log_scale
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class MaskedAffine:
    """u_i = (x_i - mu_i) exp(-alpha_i), mu_i and alpha_i functions of x_1 .. x_(i-1).

    ``conditioner`` maps ``(B, d)`` to both, ``(B, 2, d)``, of which the i-th depend on the numbers before i alone.
    |alpha| stays below ``limit``, smoothly, so that no rare number can stretch another without bound. One pass
    forward; the inverse takes d of them, number by number.
    """

    conditioner: Callable[[Tensor], Tensor]
    limit: float = 4.0

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._parameters(x)
        return (x - shift) * (-log_scale).exp(), -log_scale.sum(1)  # Eq. 4 and 5

    def inverse(self, y: Tensor) -> Tensor:
        x, index = torch.zeros_like(y), torch.arange(y.shape[1], device=y.device)
        for i in range(y.shape[1]):
            shift, log_scale = self._parameters(x)
            x = torch.where(index == i, y * log_scale.exp() + shift, x)  # Eq. 3
        return x

    def _parameters(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and alpha ``(B, d)``, float32 or wider."""
        shift, raw = self.conditioner(x).to(x.dtype).unbind(1)
        return shift, self.limit * torch.tanh(raw / self.limit)
