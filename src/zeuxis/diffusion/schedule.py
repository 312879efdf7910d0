"""Grids of noise levels for sampling: descending, ending in 0, (N + 1,) for N steps, float32.

A grid says where a sampler stops on its way from noise to data. The first entry is also the standard
deviation of the noise that sampling starts from.

A call of the denoiser at the least noise of all gives back nearly the picture that it was shown. Where many steps are
taken that costs little; where few are, it is one of them for nothing: of two steps at [157, 0.01, 0] the second does
not count. So what is laid over a chain here ends in a call that still has work to do, whatever the spacing.

Legend: N steps of sampling, T steps of a chain.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from zeuxis.errors import UsageError, lookup

Spacing = Literal["karras", "uniform-log-snr", "trailing", "leading", "linspace"]
HIGH = 80.0  # EDM's sigma_max (Karras et al. 2022, Table 1): of a picture in [-1, 1] next to nothing is left there


def karras(steps: int, low: float = 0.002, high: float = 80.0, rho: float = 7.0) -> Tensor:
    """Levels equally spaced in sigma^(1/rho) (Karras et al. 2022, arXiv:2206.00364, Eq. 5)."""
    _check(steps)
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    levels = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return _ended(levels)


def geometric(steps: int, low: float = 0.01, high: float = 1.0) -> Tensor:
    """Levels in constant ratio (Song & Ermon 2019, arXiv:1907.05600)."""
    _check(steps)
    return _ended(torch.logspace(0, 1, steps, base=low / high, dtype=torch.float64) * high)


def skip_lowest(levels: Tensor) -> Tensor:
    """The grid (N + 1,) without a call at its lowest level: (N,), whose last step goes to 0 from the level before."""
    return torch.cat([levels[:-2], levels[-1:]])


def respaced(sigmas: Tensor, steps: int, spacing: Spacing = "karras") -> Tensor:
    """``steps`` levels between those of a chain (T,), given ascending; the chain itself where they are T or more.

    ``karras``: equally spaced in sigma^(1/7) (:func:`karras`), :data:`HIGH` at most;
    ``uniform-log-snr``: in constant ratio (Lu et al. 2022, arXiv:2206.00927, Section 3.4), :data:`HIGH` at most; other
    libraries call this ``exponential``, for it is evenly spaced in the logarithm of sigma;
    ``trailing``, ``leading`` and ``linspace``: the chain's own levels, evenly spaced in t as in Table 2 of Lin et al.
    2023 (arXiv:2305.08891). ``leading`` starts short of pure noise, and ``linspace`` calls the lowest level: both are
    there to compare with.

    With exact denoisers, of a few numbers and of smoothed pictures, the first is never far from the best, whatever the
    sampler and however few the steps. Constant ratios are better for few numbers, and worse for pictures, whose
    thousands of values settle at a higher level of noise.
    """
    _check(steps)
    lay = lookup("spacing", spacing, _SPACINGS)
    ascending = sigmas.detach().cpu().double()
    return lay(ascending, steps) if steps < len(sigmas) else _ended(ascending.flip(0))


def chain_steps(chain: int, steps: int, spacing: str, *, offset: int = 0, one_more: bool = False) -> Tensor:
    """The steps (N,) that a sampler of N stops at, out of those of a chain of T = ``chain``, descending: whole numbers.

    They are evenly spaced, "trailing", "leading" or "linspace" (Lin et al. 2023, Table 2); "trailing" takes no options.

    Args:
        offset: added to the steps of "leading", as far as the chain goes.
        one_more: lay N + 1 and leave out the lowest.
    """
    return lookup("spacing", spacing, EVEN)(chain, steps, offset, one_more).clamp(0, chain - 1)


def shift_timesteps(t: Tensor, shift: float) -> Tensor:
    """Times in [0, 1] of the straight path, moved towards noise by a ``shift`` above 1, and away by one below.

    ``t' = shift t / (1 + (shift - 1) t)`` (Esser et al. 2024, arXiv:2403.03206, Eq. 23).
    """
    return shift * t / (1 + (shift - 1) * t)


def flow_times(steps: int, shift: float = 1.0) -> Tensor:
    """Times of the straight path, from 1 to 0: uniform, then moved by ``shift``."""
    _check(steps)
    return shift_timesteps(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift).float()


def flow_levels(steps: int, shift: float = 1.0, start: float = 1000.0) -> Tensor:
    """:func:`flow_times` as noise levels of VE space, t / (1 - t), which is infinite at t = 1.

    In its place stands ``start``, or ten times the next level where that is more: a picture is then a thousandth of
    the noise that it lies under.
    """
    times = flow_times(steps, shift).double()
    levels = times[1:] / (1 - times[1:])
    return torch.cat([(10 * levels[:1]).clamp(min=start), levels]).float()


def check_levels(low: float, high: float) -> None:
    """Raise :class:`UsageError` for ends between which no noise levels lie."""
    if not 0 < low < high:
        raise UsageError(f"noise levels from low {low:g} to high {high:g}: 0 < low < high is wanted")


def check_positive(**values: float) -> None:
    """Raise :class:`UsageError` for one of these, by name, that is not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise UsageError(f"{name} {value:g}: give a number above 0")


def _check(steps: int) -> None:
    if steps < 1:
        raise UsageError(f"{steps} steps of sampling: take 1 or more")


def _ended(levels: Tensor) -> Tensor:
    return torch.cat([levels, levels.new_zeros(1)]).float()


def _karras(sigmas: Tensor, steps: int) -> Tensor:
    return skip_lowest(karras(steps + 1, float(sigmas[0]), _highest(sigmas)))


def _uniform_log_snr(sigmas: Tensor, steps: int) -> Tensor:
    return skip_lowest(geometric(steps + 1, float(sigmas[0]), _highest(sigmas)))


def _even(sigmas: Tensor, steps: int, spacing: str) -> Tensor:
    return _ended(sigmas[chain_steps(len(sigmas), steps, spacing)])


def _highest(sigmas: Tensor) -> float:
    return min(HIGH, float(sigmas[-1]))


def _trailing(chain: int, steps: int, offset: int, one_more: bool) -> Tensor:
    return (chain - torch.arange(steps, dtype=torch.float64) * chain / steps).round().long() - 1


def _leading(chain: int, steps: int, offset: int, one_more: bool) -> Tensor:
    count = steps + one_more
    if count == 1:  # the chain's own first step, at which a network takes pure noise for a picture
        raise UsageError(
            "1 step of spacing 'leading' begins where this chain ends: take more, or --knob spacing=trailing"
        )
    every = torch.arange(count) * (chain // count)
    room = chain - 1 - int(every[-1])  # above the last: a larger offset would have two steps fall on one
    return (every + min(offset, room)).flip(0)[:steps]


def _linspace(chain: int, steps: int, offset: int, one_more: bool) -> Tensor:
    return torch.linspace(chain - 1, 0, steps + one_more, dtype=torch.float64).round().long()[:steps]


EVEN: dict[str, Callable[[int, int, int, bool], Tensor]] = {
    "trailing": _trailing,
    "leading": _leading,
    "linspace": _linspace,
}  # the spacings of :func:`chain_steps`
_SPACINGS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "karras": _karras,
    "uniform-log-snr": _uniform_log_snr,
    **{spacing: partial(_even, spacing=spacing) for spacing in EVEN},
}
