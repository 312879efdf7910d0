"""A learnt variance of the reverse steps (Nichol & Dhariwal 2021, "Improved DDPM", arXiv:2102.09672), in VE space.

The posterior q(x_{t-1} | x_t, x0) of a chain and the variance that the step has without x0 are the two ends between
which a network says, number by number, how uncertain its own step is. With x_t / sqrt(alpha-bar_t) as x, ``now`` =
sigma_t and ``after`` = sigma_{t-1} (0 after the last step):

    mean of q           x0 + (after / now)^2 (x - x0)
    lower, beta~_t      after^2 (1 - after^2 / now^2)
    upper, beta_t       (now^2 - after^2) (1 + after^2) / (1 + now^2)
    Sigma (Eq. 15)      exp(v log beta_t + (1 - v) log beta~_t)

A chain of fewer steps has the variances of its own ``now`` and ``after``, as the paper's does (Section 4).

Legend: B images of any shape (B, ...); now and after are (B,), or plain numbers; v has an image's shape, and lies in
[0, 1] as long as a network keeps to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from zeuxis.diffusion.path import append_dims
from zeuxis.rng import Rng, normal_like


def first_variance(sigmas: Tensor) -> float:
    """beta~ of the chain's second step, which stands for that of the first, whose own is 0; ``sigmas`` (T,) ascend."""
    after, now = sigmas[:2].tolist()
    return after**2 * (1 - (after / now) ** 2) / (1 + after**2)


def ends(now: Tensor, after: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """log beta~ and log beta; ``least`` is :func:`first_variance`, the lower end where ``after`` is 0."""
    lower = (after**2 * (1 - (after / now) ** 2)).where(after > 0, least)
    upper = (now**2 - after**2) * (1 + after**2) / (1 + now**2)
    return lower.log(), upper.log()


def bound_term(x0: Tensor, guess: Tensor, v: Tensor, now: Tensor, after: Tensor, least: float) -> Tensor:
    """The term of the variational bound at one step (Eqs. 4 to 7), bits a number ``(B,)``.

    ``x0`` are the images and ``guess`` what the network takes them for: hold it fixed to learn the variance alone, as
    L_hybrid does (Eq. 16). The last term is that of a density, not of grey levels, and may be negative.
    """
    now, after = append_dims(now.to(x0.dtype), x0), append_dims(after.to(x0.dtype), x0)  # (B, 1, ...)
    lower, upper = ends(now, after, least)
    log_variance = v * upper + (1 - v) * lower  # Eq. 15
    error = ((1 - (after / now) ** 2) * (x0 - guess)).square() * (-log_variance).exp()
    kl = 0.5 * (log_variance - lower + (lower - log_variance).exp() + error - 1)
    nll = 0.5 * (math.log(2 * math.pi) + log_variance + error)
    return kl.where(after > 0, nll).flatten(1).mean(1) / math.log(2)


def ancestral_learned(both: Callable[[Tensor, float], Tensor], x: Tensor, levels: Tensor, rng: Rng) -> Tensor:
    """The chain with learnt variances (Alg. 2 of Ho et al. 2020 with Eq. 15): x of deviation ``levels[0]`` to x0.

    ``both(x, sigma)`` are x0 and v beside each other, ``(B, 2 C, H, W)``; ``levels`` (N + 1,) descend to 0.
    """
    for now, after in pairwise(levels.tolist()):
        x0, v = both(x, now).chunk(2, 1)
        x = torch.lerp(x0.to(x.dtype), x, (after / now) ** 2)
        if after > 0:
            lower, upper = ends(torch.tensor(now).double(), torch.tensor(after).double(), least=0.0)
            log_variance = v * float(upper) + (1 - v) * float(lower)
            x = x + (log_variance / 2).exp() * normal_like(x, rng)
    return x


def fraction(raw: Tensor) -> Tensor:
    """v of what a network gives, whose [-1, 1] is the whole way from end to end (as in the authors' program)."""
    return (raw + 1) / 2
