"""Grids of noise levels for sampling: descending, ending in 0, (N + 1,) for N steps, float32.

A grid says where a sampler stops on its way from noise to data. The first entry is also the standard
deviation of the noise that sampling starts from.

Legend: N steps of sampling, T steps of a chain.
"""

from __future__ import annotations

import torch
from torch import Tensor


def karras(steps: int, low: float = 0.002, high: float = 80.0, rho: float = 7.0) -> Tensor:
    """Levels equally spaced in sigma^(1/rho) (Karras et al. 2022, arXiv:2206.00364, Eq. 5)."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    levels = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return _ended(levels)


def geometric(steps: int, low: float = 0.01, high: float = 1.0) -> Tensor:
    """Levels in constant ratio (Song & Ermon 2019, arXiv:1907.05600)."""
    return _ended(torch.logspace(0, 1, steps, base=low / high, dtype=torch.float64) * high)


def respaced(sigmas: Tensor, steps: int) -> Tensor:
    """``steps`` of a chain's own levels (T,), given ascending: evenly spaced in t, both ends among them."""
    chain = len(sigmas)
    kept = torch.linspace(chain - 1, 0, min(steps, chain), dtype=torch.float64).round().long()
    return _ended(sigmas.detach().cpu().double()[kept])


def shift_timesteps(t: Tensor, shift: float) -> Tensor:
    """Times in [0, 1] of the straight path, moved towards noise by a ``shift`` above 1, and away by one below.

    ``t' = shift t / (1 + (shift - 1) t)`` (Esser et al. 2024, arXiv:2403.03206, Eq. 23).
    """
    return shift * t / (1 + (shift - 1) * t)


def flow_times(steps: int, shift: float = 1.0) -> Tensor:
    """Times of the straight path, from 1 to 0: uniform, then moved by ``shift``."""
    return shift_timesteps(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift).float()


def flow_levels(steps: int, shift: float = 1.0, start: float = 1000.0) -> Tensor:
    """:func:`flow_times` as noise levels of VE space, t / (1 - t), which is infinite at t = 1.

    In its place stands ``start``, or ten times the next level where that is more: a picture is then a thousandth of
    the noise that it lies under.
    """
    times = flow_times(steps, shift).double()
    levels = times[1:] / (1 - times[1:])
    return torch.cat([(10 * levels[:1]).clamp(min=start), levels]).float()


def _ended(levels: Tensor) -> Tensor:
    return torch.cat([levels, levels.new_zeros(1)]).float()
