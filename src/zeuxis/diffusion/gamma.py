"""A chain whose level of noise is a number between its steps, given to the network itself rather than as a step.

Chen et al. 2020 (WaveGrad, arXiv:2009.00713), section 2.2, as SR3 (2104.07636, section 2.4) and Palette (2111.05826)
train. gamma is the squared weight of the image, alpha-bar of DDPM; sigma = sqrt(1 / gamma - 1) in VE space.

Axes: T steps of the chain.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.diffusion.path import ramp
from zeuxis.rng import Device, Rng


class GammaChain(nn.Module):
    """Variances that rise linearly from ``first`` to ``last`` over ``steps`` steps."""

    gammas: Tensor  # (T + 1,), from the image itself to noise
    sigmas: Tensor  # (T,), the deviation of the noise in VE space at every step, ascending

    def __init__(self, steps: int, first: float, last: float) -> None:
        super().__init__()
        kept = (1 - ramp("linear", steps, first, last)).cumprod(0)
        self.register_buffer("gammas", torch.cat([kept.new_ones(1), kept]).float(), persistent=False)
        self.register_buffer("sigmas", (1 / kept - 1).sqrt().float(), persistent=False)

    def draw(self, n: int, rng: Rng, device: Device) -> Tensor:
        """gamma (n,), even between two neighbours of the chain, which are drawn evenly."""
        t = rng.integers(len(self.gammas) - 1, n, device=device)  # (n,)
        low, high = self.gammas[t + 1], self.gammas[t]
        return low + (high - low) * rng.uniform(n, device=device)
