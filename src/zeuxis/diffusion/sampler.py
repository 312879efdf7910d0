"""Samplers: from noise to an image, through nothing but ``denoise(x, sigma) -> x0``.

``x = x0 + sigma e`` is in VE space, and every path of :mod:`zeuxis.diffusion.path` is VE after division by
its alpha. So DDIM is Euler's method in sigma, and DDPM's ancestral step is :func:`ddim` with eta = 1, exactly.

Both the VE and the straight path obey dx/ds = (x - x0) / s, s being the noise's standard deviation. Therefore
:func:`euler` and :func:`heun` may also be given the straight path's x and times, which has no infinity at
pure noise; Euler's steps are the same ones in either space, Heun's are not.

Legend: x (B, C, H, W); ``levels`` (N + 1,) for N steps, descending, as in :mod:`zeuxis.diffusion.schedule`; a denoiser
gets sigma as (B,). Each sampler calls the denoiser N times, Heun 2N - 1 times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Protocol

from torch import Tensor

from zeuxis.errors import UnknownName
from zeuxis.rng import Rng, normal_like

Denoise = Callable[[Tensor, Tensor], Tensor]


class Sampler(Protocol):
    """What every sampler is."""

    def __call__(self, denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng) -> Tensor: ...


def slope(x: Tensor, x0: Tensor, sigma: float) -> Tensor:
    """dx/ds = (x - x0) / s, at ``x`` whose clean image is ``x0`` (Karras et al. 2022, Eq. 1 and 3)."""
    return (x - x0) / sigma


def euler(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng) -> Tensor:
    """Euler's method; in VE space this is DDIM (Song et al. 2020, arXiv:2010.02502, Eq. 14). Draws nothing."""
    for now, after in _steps(levels):
        x = x + (after - now) * slope(x, denoise(x, _each(now, x)), now)
    return x


def heun(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng) -> Tensor:
    """Heun's second-order method, a plain Euler step to 0 (Karras et al. 2022, Alg. 1). Draws nothing."""
    for now, after in _steps(levels):
        here = slope(x, denoise(x, _each(now, x)), now)
        guess = x + (after - now) * here
        if after > 0:
            here = (here + slope(guess, denoise(guess, _each(after, x)), after)) / 2
        x = x + (after - now) * here
    return x


def ddim(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng, eta: float = 0.0) -> Tensor:
    """The family between DDIM (``eta`` 0) and DDPM (``eta`` 1): Song et al. 2020, Eq. 12 and 16, in VE space."""
    for now, after in _steps(levels):
        x0 = denoise(x, _each(now, x))
        fresh = eta * after * math.sqrt(1 - (after / now) ** 2)  # standard deviation of new noise
        kept = math.sqrt(after**2 - fresh**2)  # and of the old noise that stays
        x = x0 + kept * (x - x0) / now
        if fresh > 0:
            x = x + fresh * normal_like(x, rng)
    return x


def ancestral(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng) -> Tensor:
    """DDPM's chain: each step draws from q(x_{t-1} | x_t, x0) (Ho et al. 2020, Alg. 2, the smaller variance)."""
    return ddim(denoise, x, levels, rng, eta=1.0)


def dpmpp_2m(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, Alg. 2), first order at both ends. Draws nothing."""
    before: tuple[float, Tensor] | None = None  # the last step's length in log sigma, and its x0
    for now, after in _steps(levels):
        x0 = denoise(x, _each(now, x))
        if after == 0:
            return x0
        length = math.log(now / after)
        target = x0
        if before is not None:
            ratio = before[0] / length
            target = x0 + (x0 - before[1]) / (2 * ratio)
        x = (after / now) * x + (1 - after / now) * target
        before = length, x0
    return x


def multistep(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng, floor: float = 0.002) -> Tensor:
    """For consistency models, whose one call reaches the image: noise afresh, call again (Song et al. 2023, Alg. 1).

    ``floor`` is the paper's epsilon, the noise that the model leaves in its images.
    """
    for now, after in _steps(levels):
        x = denoise(x, _each(now, x))
        if after > 0:
            x = x + math.sqrt(after**2 - floor**2) * normal_like(x, rng)
    return x


SAMPLERS: dict[str, Sampler] = {
    "euler": euler,
    "heun": heun,
    "ddim": ddim,
    "ancestral": ancestral,
    "dpmpp-2m": dpmpp_2m,
}


def sampler(name: str, among: tuple[str, ...] = tuple(SAMPLERS)) -> Sampler:
    """The sampler called ``name``; raises :class:`UnknownName` unless it is ``among`` the usable ones."""
    if name not in among:
        raise UnknownName("sampler", name, among)
    return SAMPLERS[name]


def _steps(levels: Tensor) -> Iterator[tuple[float, float]]:
    return pairwise(levels.tolist())


def _each(level: float, x: Tensor) -> Tensor:
    """``level`` for every image of ``x``, (B,)."""
    return x.new_full((len(x),), level)
