"""Samplers each of whose steps stands by itself.

Legend: as in :mod:`zeuxis.diffusion.sampler`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zeuxis.diffusion.samplers.step import WHOLE, Denoise, at_level, between, kept_and_fresh, steps_of
from zeuxis.rng import Rng, normal_like

MOST_CHURN = math.sqrt(2) - 1  # no step adds more noise than there is (Karras et al. 2022, Alg. 2)


def euler(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng) -> Tensor:
    """Euler's method; in VE space this is DDIM (Song et al. 2020, arXiv:2010.02502, Eq. 14). Draws nothing.

    A step along dx/ds = (x - x0) / s (Karras et al. 2022, Eq. 1 and 3) leaves after / now of the way from x0 to x.
    """
    ask = at_level(denoise)
    for now, after in steps_of(levels):
        x = between(ask(x, now), x, after / now)
    return x


def heun(
    denoise: Denoise,
    x: Tensor,
    levels: Tensor,
    rng: Rng,
    *,
    churn: float = 0.0,
    churn_low: float = 0.0,
    churn_high: float = math.inf,
    churn_noise: float = 1.0,
    most: float = WHOLE,
) -> Tensor:
    """Heun's second-order method, a plain Euler step to 0 (Karras et al. 2022, arXiv:2206.00364, Alg. 1 and 2).

    The mean of the slopes at both ends moves Euler's step by (1 - after / now) (x0' - x0) times now / (2 after), x0'
    being the second answer. Here that factor is ``most`` at most: see :mod:`zeuxis.diffusion.sampler`.

    With ``churn`` (S_churn) above 0, Alg. 2: before each of the N steps from a level in [``churn_low``,
    ``churn_high``] (S_tmin, S_tmax), fresh noise of ``churn_noise`` (S_noise) lifts the level by the factor
    1 + churn / N, 1.41 at most, and never above the first level of all: a chain knows none above its last step, and
    what its network says there is wrong by several times what it is at that step. In VE space alone. Draws nothing
    otherwise.
    """
    ask = at_level(denoise)
    lift = 1 + min(churn / (len(levels) - 1), MOST_CHURN)  # 1 + gamma
    highest = float(levels[0])
    for now, after in steps_of(levels):
        lifted = min(lift * now, highest)  # t-hat
        if lifted > now and churn_low <= now <= churn_high:
            x = torch.add(x, normal_like(x, rng), alpha=churn_noise * math.sqrt(lifted**2 - now**2))
            now = lifted
        x0 = ask(x, now)
        x = between(x0, x, after / now)
        if after > 0:
            share = min(most, now / (2 * after)) * (1 - after / now)
            x = torch.add(x, ask(x, after) - x0, alpha=share)
    return x


def midpoint(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng) -> Tensor:
    """The midpoint method (Runge 1895): the slope half-way, found by Euler's method, for the whole step. Draws nothing.

    Second order on the straight path and in VE space. x0 is carried on from the middle as far as it came to it.
    """
    ask = at_level(denoise)
    for now, after in steps_of(levels):
        middle = (now + after) / 2
        half = between(ask(x, now), x, middle / now)
        slope = (half - ask(half, middle)) / middle
        x = torch.add(x, slope.to(x.dtype), alpha=after - now)
    return x


def ddim(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng, eta: float = 0.0) -> Tensor:
    """The family between DDIM (``eta`` 0) and DDPM (``eta`` 1): Song et al. 2020, Eq. 12 and 16, in VE space.

    It is Euler's method to the level that remains of the old noise, and fresh noise up to the next level: what other
    libraries call ``euler ancestral`` with that eta.
    """
    ask = at_level(denoise)
    for now, after in steps_of(levels):
        kept, fresh = kept_and_fresh(now, after, eta)
        x = between(ask(x, now), x, kept / now)
        if fresh > 0:
            x = torch.add(x, normal_like(x, rng), alpha=fresh)
    return x


def ancestral(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng) -> Tensor:
    """DDPM's chain: each step draws from q(x_{t-1} | x_t, x0) (Ho et al. 2020, Alg. 2, the smaller variance)."""
    return ddim(denoise, x, levels, rng, eta=1.0)


def dpmpp_2s(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng, *, eta: float = 0.0) -> Tensor:
    """DPM-Solver++(2S) (Lu et al. 2022, arXiv:2211.01095, Alg. 1, r = 1/2): x0 from a step's middle in log sigma.

    With ``eta`` as in :func:`ddim`: both parts of a step then add fresh noise, that of the whole step going on from
    that of its first half, as the noise of one reverse process does. In 1 / sigma^2 that noise is Brownian.
    """
    ask = at_level(denoise)
    for now, after in steps_of(levels):
        x0 = ask(x, now)
        if after == 0:
            return x0.to(x.dtype)
        middle = math.sqrt(now * after)
        kept, fresh = kept_and_fresh(now, middle, eta)
        half = between(x0, x, kept / now)
        noise = None
        if fresh > 0:
            noise = normal_like(x, rng)
            half = torch.add(half, noise, alpha=fresh)
        kept, fresh = kept_and_fresh(now, after, eta)
        x = between(ask(half, middle), x, kept / now)
        if noise is not None:
            share = (middle**-2 - now**-2) / (after**-2 - now**-2)
            noise = math.sqrt(share) * noise + math.sqrt(1 - share) * normal_like(x, rng)
            x = torch.add(x, noise, alpha=fresh)
    return x


def dpmpp_sde(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng) -> Tensor:
    """DPM-Solver++(2S) along the reverse process with all its noise, which is known as DPM++ SDE."""
    return dpmpp_2s(denoise, x, levels, rng, eta=1.0)


def multistep(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng, floor: float = 0.002) -> Tensor:
    """For consistency models, whose one call reaches the image: noise afresh, call again (Song et al. 2023, Alg. 1).

    ``floor`` is the paper's epsilon, the noise that the model leaves in its images.
    """
    ask = at_level(denoise)
    for now, after in steps_of(levels):
        x = ask(x, now)
        if after > 0:
            x = torch.add(x, normal_like(x, rng), alpha=math.sqrt(after**2 - floor**2))
    return x
