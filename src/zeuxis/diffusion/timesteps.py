"""The chains and grids of published schedulers: betas, and the levels that so many steps call the network at.

A scheduler's file beside published weights says how the chain was trained and how it is walked. Here are its words and
what they mean; :func:`zeuxis.diffusion.schedule.respaced` has the grids that were measured to be good.

    timestep_spacing  leading, trailing, linspace     ``spacing`` (Lin et al. 2023, arXiv:2305.08891, Table 2)
    use_karras_sigmas                                 ``spacing`` "karras"
    use_exponential_sigmas                            ``spacing`` "uniform-log-snr"
    steps_offset                                      ``offset``: added to the steps of "leading"
    set_alpha_to_one                                  ``to_zero``: whether the last step goes to the picture itself, or
                                                      to the chain's first step (DDIM alone knows the difference), which
                                                      is then no call of those that reach down to it, but their end
    rescale_betas_zero_snr                            ``zero_snr`` of :func:`chain_betas`
    LCMScheduler                                      ``spacing`` "consistency": some of the :data:`CONSISTENT` even
                                                      steps that latent consistency models are distilled at (Luo et al.
                                                      2023, arXiv:2310.04378), from the chain's last one on

**Zero terminal SNR.** Betas may be rescaled so that the last step of the chain holds nothing of the picture (Alg. 1 of
Lin et al.). Its level in VE space, std / alpha, is then infinite. In its place stands :data:`MOST`, 4096: a picture is
a 4096th of the noise that it lies under, which float32 still tells apart when it is added and taken away again, and
whatever the network predicts there has all but forgotten the picture. It must not be the noise, which would be asked
for the picture by a division by 4096: such chains go with a network that predicts v.

Legend: T steps of the chain, N of sampling.

Axes: T steps of the chain, N steps of sampling.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from zeuxis.diffusion.path import ramp
from zeuxis.diffusion.schedule import EVEN, chain_steps, geometric, karras
from zeuxis.errors import UsageError, lookup

MOST = 4096.0  # in place of an infinite level
CONSISTENT = 50
TO_THE_FIRST = frozenset({"linspace", "karras", "uniform-log-snr"})  # spacings whose lowest level is the chain's first


def chain_betas(shape: str, steps: int, first: float, last: float, *, zero_snr: bool = False) -> Tensor:
    """The variances ``(T,)``, float64, from ``first`` to ``last``: "linear", or "scaled-linear" in the square root.

    With ``zero_snr`` they are rescaled so that the last step's alpha-bar is that of level :data:`MOST`.

    Raises :class:`UsageError` for a chain of no way, or with a variance of 0, whose level would have no logarithm.
    """
    if steps < 2 or not (0 < first < 1 and 0 < last < 1):
        raise UsageError(
            f"a chain of {steps} steps with variances from {first:g} to {last:g}: 2 steps or more are wanted, and "
            "variances between 0 and 1"
        )
    found = ramp(shape, steps, first, last)
    return _zero_snr(found) if zero_snr else found


def published_levels(
    sigmas: Tensor,
    steps: int,
    spacing: str,
    *,
    offset: int = 0,
    one_more: bool = False,
    whole: bool = True,
    to_zero: bool = True,
) -> Tensor:
    """Levels ``(N + 1,)`` between those of a chain ``(T,)``, given ascending; float32, descending.

    Args:
        offset: added to the steps of "leading".
        one_more: lay N + 1 and leave out the lowest (the DPM-Solver family), so that no call is spent on it.
        whole: whether "linspace" is rounded to the chain's own steps (DDIM, the DPM-Solver family) or not (Euler and
            what steps like it).
        to_zero: end at 0; otherwise at the chain's first level. A spacing that reaches down to that level has it as its
            end, and so ``steps`` levels above it: a call there would change nothing.

    Raises :class:`UsageError` for a number of steps that the chain does not have.
    """
    lay = lookup("spacing", spacing, _GRIDS)
    chain, reaches = len(sigmas), not to_zero and spacing in TO_THE_FIRST
    most = chain - (one_more or reaches)
    if not 1 <= steps <= most:
        raise UsageError(f"{steps} steps of sampling: take 1 to {most}, the chain has {chain}")
    ascending, count = sigmas.detach().cpu().double(), steps + reaches
    if whole or spacing != "linspace":
        found = lay(ascending, count, offset, one_more and not reaches)
    else:
        found = _between(ascending, count)
    end = found.new_zeros(1) if to_zero else ascending[:1]
    return torch.cat([found[found > end], end]).float()


def _zero_snr(betas: Tensor) -> Tensor:
    """Lin et al. 2023, Alg. 1: sqrt(alpha-bar) shifted so that the last is 0 and scaled so that the first stays."""
    root = (1 - betas).cumprod(0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    abar = root.square()
    abar[-1] = 1 / (1 + MOST**2)  # not 0: see above
    return 1 - torch.cat([abar[:1], abar[1:] / abar[:-1]])


def _between(sigmas: Tensor, steps: int) -> Tensor:
    """Evenly spaced in t, not rounded: between two steps of the chain the level is linear in t."""
    t = torch.linspace(len(sigmas) - 1, 0, steps, dtype=torch.float64)
    low = t.long().clamp(max=len(sigmas) - 2)
    return sigmas[low].lerp(sigmas[low + 1], t - low)


def _even(sigmas: Tensor, steps: int, offset: int, one_more: bool, spacing: str) -> Tensor:
    return sigmas[chain_steps(len(sigmas), steps, spacing, offset=offset, one_more=one_more)]


def _karras(sigmas: Tensor, steps: int, offset: int, one_more: bool) -> Tensor:
    return karras(steps, float(sigmas[0]), float(sigmas[-1]))[:-1].double()


def _uniform_log_snr(sigmas: Tensor, steps: int, offset: int, one_more: bool) -> Tensor:
    return geometric(steps, float(sigmas[0]), float(sigmas[-1]))[:-1].double()


def _consistency(sigmas: Tensor, steps: int, offset: int, one_more: bool) -> Tensor:
    most = min(CONSISTENT, len(sigmas))
    if steps > most:
        raise UsageError(
            f"{steps} steps of latent consistency: its models are distilled at {most}; take fewer, or --knob "
            "spacing=trailing"
        )
    known = torch.arange(most, 0, -1) * (len(sigmas) // most) - 1  # descending from the chain's last
    return sigmas[known[torch.arange(steps) * most // steps]]


_GRIDS: dict[str, Callable[[Tensor, int, int, bool], Tensor]] = {
    **{spacing: partial(_even, spacing=spacing) for spacing in EVEN},
    "karras": _karras,
    "uniform-log-snr": _uniform_log_snr,
    "consistency": _consistency,
}
