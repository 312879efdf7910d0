"""Edits that any latent diffusion model can make: begin from a picture under noise, keep a part of it.

Axes: N steps of sampling.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zeuxis.diffusion.sampler import ByLevel, Denoise, of_any_level
from zeuxis.errors import UsageError


def last_share(levels: Tensor, strength: float) -> Tensor:
    """The levels of the last ``strength`` of N steps (SDEdit; Meng et al. 2021, arXiv:2108.01073, section 3).

    ``levels`` ``(N + 1,)``; a picture is put under noise of the first level that is left. Raises :class:`UsageError`
    where no step is, and for a strength that is no share.
    """
    if not 0 <= strength <= 1:
        raise UsageError(f"strength {strength:g} is a share of the steps: give one above 0 and at most 1")
    steps = len(levels) - 1
    taken = int(steps * strength + 1e-6)
    if taken < 1:
        raise UsageError(f"strength {strength:g} of {steps} steps is no step: raise one of them")
    return levels[steps - taken :]


def keeping(denoise: Denoise, kept: Tensor, make: Tensor) -> ByLevel:
    """The denoiser whose answer is ``kept`` ``(B, C, H, W)`` wherever ``make`` ``(B, 1, H, W)`` is 0.

    A sampler then takes what is kept back to it through the noise that it began with: at every level the network sees
    it under as much noise as the rest (Lugmayr et al. 2022, arXiv:2201.09865, Eq. 8, with the noise of the start).
    """
    asked = of_any_level(denoise)

    def kept_or_made(x: Tensor, sigma: Any) -> Tensor:
        return torch.where(make > 0.5, asked(x, sigma), kept)

    return ByLevel(kept_or_made)
