"""Samplers: from noise to an image, through nothing but ``denoise(x, sigma) -> x0``.

``x = x0 + sigma e`` is in VE space, and every path of :mod:`zeuxis.diffusion.path` is VE after division by
its alpha. So DDIM is Euler's method in sigma, and DDPM's ancestral step is :func:`ddim` with eta = 1, exactly.

Both the VE and the straight path obey dx/ds = (x - x0) / s, s being the noise's standard deviation. Therefore
:func:`euler` and :func:`heun` may also be given the straight path's x and times, which has no infinity at
pure noise; Euler's steps are the same ones in either space, Heun's are not.

Second-order methods take the change of x0 from one level to another and carry it on by half a step. Over a step that is
long for the one before it, or that more than halves the noise, their formulas carry it on by several times that change,
far beyond the pictures. They are held to the whole of it here (``most = WHOLE``), which no step of a fine grid comes
near; ``most = math.inf`` is the published algorithm on every grid.

Legend: x (B, C, H, W); ``levels`` (N + 1,) for N steps, descending, as in :mod:`zeuxis.diffusion.schedule`; a denoiser
gets sigma as (B,), or a :class:`ByLevel` as a number. Each calls the denoiser N times, Heun 2N - 1 times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor

from zeuxis.diffusion.path import for_each
from zeuxis.errors import UnknownName
from zeuxis.rng import Rng, normal_like

Denoise = Callable[[Tensor, Tensor], Tensor]
WHOLE = 1.0  # how much of the change of x0 a second-order correction may carry on


@dataclass(frozen=True, eq=False)
class ByLevel:
    """A denoiser whose ``of`` may also be given one plain number as sigma, the same for all images.

    A sampler gives it that: so little is left of the loop besides the network.
    """

    of: Callable[[Tensor, Any], Tensor]  # of x and sigma, (B,) or a number

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.of(x, sigma)


class Sampler(Protocol):
    """What every sampler is."""

    def __call__(self, denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng) -> Tensor: ...


def euler(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng) -> Tensor:
    """Euler's method; in VE space this is DDIM (Song et al. 2020, arXiv:2010.02502, Eq. 14). Draws nothing.

    A step along dx/ds = (x - x0) / s (Karras et al. 2022, Eq. 1 and 3) leaves after / now of the way from x0 to x.
    """
    ask = _at_level(denoise)
    for now, after in _steps(levels):
        x = _between(ask(x, now), x, after / now)
    return x


def heun(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng, most: float = WHOLE) -> Tensor:
    """Heun's second-order method, a plain Euler step to 0 (Karras et al. 2022, Alg. 1). Draws nothing.

    The mean of the slopes at both ends moves Euler's step by (1 - after / now) (x0' - x0) times now / (2 after), x0'
    being the second answer. Here that factor is ``most`` at most: see above.
    """
    ask = _at_level(denoise)
    for now, after in _steps(levels):
        x0 = ask(x, now)
        x = _between(x0, x, after / now)
        if after > 0:
            share = min(most, now / (2 * after)) * (1 - after / now)
            x = torch.add(x, ask(x, after) - x0, alpha=share)
    return x


def ddim(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng, eta: float = 0.0) -> Tensor:
    """The family between DDIM (``eta`` 0) and DDPM (``eta`` 1): Song et al. 2020, Eq. 12 and 16, in VE space."""
    ask = _at_level(denoise)
    for now, after in _steps(levels):
        fresh = eta * after * math.sqrt(1 - (after / now) ** 2)  # standard deviation of new noise
        kept = math.sqrt(after**2 - fresh**2)  # and of the old noise that stays
        x = _between(ask(x, now), x, kept / now)
        if fresh > 0:
            x = torch.add(x, normal_like(x, rng), alpha=fresh)
    return x


def ancestral(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng) -> Tensor:
    """DDPM's chain: each step draws from q(x_{t-1} | x_t, x0) (Ho et al. 2020, Alg. 2, the smaller variance)."""
    return ddim(denoise, x, levels, rng, eta=1.0)


def dpmpp_2m(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng, most: float = WHOLE) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, Alg. 2), first order at both ends. Draws nothing.

    Alg. 2 adds (x0 - the last x0) / 2r, r being the last step's length in log sigma over this one's. Here 1 / 2r is
    ``most`` at most: see above.
    """
    ask = _at_level(denoise)
    before: tuple[float, Tensor] | None = None  # the last step's length in log sigma, and its x0
    for now, after in _steps(levels):
        x0 = ask(x, now)
        if after == 0:
            return x0
        length = math.log(now / after)
        target = x0
        if before is not None:
            target = torch.add(x0, x0 - before[1], alpha=min(most, length / (2 * before[0])))
        x = _between(target, x, after / now)
        before = length, x0
    return x


def multistep(denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng, floor: float = 0.002) -> Tensor:
    """For consistency models, whose one call reaches the image: noise afresh, call again (Song et al. 2023, Alg. 1).

    ``floor`` is the paper's epsilon, the noise that the model leaves in its images.
    """
    ask = _at_level(denoise)
    for now, after in _steps(levels):
        x = ask(x, now)
        if after > 0:
            x = torch.add(x, normal_like(x, rng), alpha=math.sqrt(after**2 - floor**2))
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


def _at_level(denoise: Denoise) -> Callable[[Tensor, float], Tensor]:
    """``denoise`` for a number, as cheaply as it can be asked."""
    if isinstance(denoise, ByLevel):
        return denoise.of
    return lambda x, level: denoise(x, for_each(level, x))


def _between(x0: Tensor, x: Tensor, share: float) -> Tensor:
    """``share`` of the way from ``x0`` to ``x``, in the dtype of ``x``."""
    return torch.lerp(x0.to(x.dtype), x, share)
