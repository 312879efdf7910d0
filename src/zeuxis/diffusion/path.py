"""Paths from data to noise.

Every diffusion and flow model mixes an image with Gaussian noise, ``x_t = alpha(t) x0 + std(t) e``,
and only the two functions differ:

    VP (Ho et al. 2020, arXiv:2006.11239)           alpha = sqrt(abar_t)   std = sqrt(1 - abar_t)
    VE (Song & Ermon 2019; Karras et al. 2022)      alpha = 1              std = t
    straight (Lipman 2022, 2210.02747; Liu 2022)    alpha = 1 - t          std = t

VP and VE are also the continuous processes of Song et al. 2021 (arXiv:2011.13456), whose t lies in [0, 1]. A third,
sub-VP, has VP's alpha and std = 1 - alpha^2: see :data:`SDES`.

Divided by ``alpha``, any of them is the VE path at ``sigma = std / alpha``: this is the space in which
samplers work, and why one sampler serves them all. Everywhere t grows from data to noise. What a network may
predict along them is in :mod:`zeuxis.diffusion.precondition`.

Legend: B images, (B, C, H, W) or of any shape (B, ...); t, sigma, alpha and std are (B,), or plain numbers where they
are the same for all images, as in a sampler's loop (a dozen operations on one number cost more there than the step that
they are for); T steps of a chain. All arithmetic is in the dtype of its input.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import cached_property
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from zeuxis.errors import UsageError, lookup

BetaSchedule = Literal["linear", "cosine", "scaled-linear"]
SdeKind = Literal["vp", "sub-vp", "ve"]
Level = TypeVar("Level", Tensor, float)  # of noise, or a time: one for each image (B,), or one number for all


class Path(Protocol):
    """A way from data to noise."""

    def alpha(self, t: Level) -> Level:
        """The weight of the image at ``t``."""
        ...

    def std(self, t: Level) -> Level:
        """The standard deviation of the noise at ``t``."""
        ...

    def time(self, sigma: Level) -> Level:
        """The ``t`` at which ``std / alpha`` is ``sigma``."""
        ...


class VarianceExploding:
    """The image stays as it is and noise is added: t is the noise's standard deviation."""

    def alpha(self, t: Level) -> Level:
        return 1 + 0 * t

    def std(self, t: Level) -> Level:
        return t

    def time(self, sigma: Level) -> Level:
        return sigma


class Straight:
    """The straight line of rectified flow: t in [0, 1], data at 0 and pure noise at 1."""

    def alpha(self, t: Level) -> Level:
        return 1 - t

    def std(self, t: Level) -> Level:
        return t

    def time(self, sigma: Level) -> Level:
        return sigma / (1 + sigma)


class VariancePreserving(nn.Module):
    """The T-step chain of DDPM: t in [0, T - 1], whole numbers being the chain's own steps.

    Between two of them, log sigma is linear in t.
    """

    log_sigma: Tensor

    def __init__(self, betas: Tensor) -> None:
        super().__init__()
        abar = (1 - betas.double()).cumprod(0)
        self.register_buffer("log_sigma", ((1 - abar) / abar).log().div(2).float(), persistent=False)  # (T,)

    def __len__(self) -> int:
        return len(self.log_sigma)

    @property
    def sigmas(self) -> Tensor:
        """``std / alpha`` (T,) of every step of the chain, ascending."""
        return self.log_sigma.exp()

    @cached_property
    def _table(self) -> list[float]:
        numbers: list[float] = self.log_sigma.tolist()
        return numbers

    def sigma(self, t: Level) -> Level:
        """``std / alpha`` at ``t``."""
        if isinstance(t, float):
            low = min(max(int(t), 0), len(self) - 2)
            start, end = self._table[low : low + 2]
            return math.exp(start + (end - start) * (t - low))
        lower = t.long().clamp(0, len(self) - 2)
        return self.log_sigma[lower].lerp(self.log_sigma[lower + 1], t.to(self.log_sigma.dtype) - lower).exp()

    def alpha(self, t: Level) -> Level:
        found: Level = (1 + self.sigma(t) ** 2) ** -0.5
        return found

    def std(self, t: Level) -> Level:
        found: Level = (1 + self.sigma(t) ** -2) ** -0.5
        return found

    def time(self, sigma: Level) -> Level:
        if isinstance(sigma, float):
            number = math.log(sigma)
            at = min(max(bisect_left(self._table, number), 1), len(self) - 1)
            below, above = self._table[at - 1 : at + 1]
            return at - 1 + min(max((number - below) / (above - below), 0.0), 1.0)
        wanted = sigma.to(self.log_sigma.dtype).log()
        high = torch.searchsorted(self.log_sigma, wanted).clamp(1, len(self) - 1)
        start, end = self.log_sigma[high - 1], self.log_sigma[high]
        return (high - 1) + ((wanted - start) / (end - start)).clamp(0, 1)


class VpSde:
    """The limit of DDPM's chain (Song et al. 2021, Eq. 29, Appendix C): beta(t) goes from ``low`` to ``high`` over t
    in [0, 1], and log alpha(t) = -t^2 (high - low) / 4 - t low / 2."""

    def __init__(self, low: float = 0.1, high: float = 20.0) -> None:
        self.low, self.high = low, high

    def alpha(self, t: Level) -> Level:
        return _exp(self._log_alpha(t))

    def std(self, t: Level) -> Level:
        found: Level = (-_expm1(2 * self._log_alpha(t))) ** 0.5
        return found

    def time(self, sigma: Level) -> Level:
        return self._time(-_log1p(sigma**2) / 2)

    def _log_alpha(self, t: Level) -> Level:
        return -(t**2) * (self.high - self.low) / 4 - t * self.low / 2

    def _time(self, log_alpha: Level) -> Level:
        root = (self.low**2 - 4 * (self.high - self.low) * log_alpha) ** 0.5
        return -4 * log_alpha / (self.low + root)


class SubVpSde(VpSde):
    """Less noise than :class:`VpSde` beside as much of the image: std = 1 - alpha^2 (Song et al. 2021, Eq. 29)."""

    def std(self, t: Level) -> Level:
        return -_expm1(2 * self._log_alpha(t))

    def time(self, sigma: Level) -> Level:
        # sigma alpha = 1 - alpha^2, solved for 1 / alpha.
        return self._time(-_log1p(sigma / 2 * (sigma + (sigma**2 + 4) ** 0.5)) / 2)


class VeSde:
    """sigma(t) = ``low`` (``high`` / ``low``)^t over t in [0, 1] (Song et al. 2021, Eq. 29, Appendix C)."""

    def __init__(self, low: float = 0.01, high: float = 50.0) -> None:
        self.low, self.ratio = low, math.log(high / low)

    def alpha(self, t: Level) -> Level:
        return 1 + 0 * t

    def std(self, t: Level) -> Level:
        return self.low * _exp(t * self.ratio)

    def time(self, sigma: Level) -> Level:
        return _log(sigma / self.low) / self.ratio


SDES: dict[SdeKind, Callable[[float, float], Path]] = {"vp": VpSde, "sub-vp": SubVpSde, "ve": VeSde}


def _exp(x: Level) -> Level:
    return math.exp(x) if isinstance(x, float) else x.exp()


def _expm1(x: Level) -> Level:
    return math.expm1(x) if isinstance(x, float) else x.expm1()


def _log(x: Level) -> Level:
    return math.log(x) if isinstance(x, float) else x.log()


def _log1p(x: Level) -> Level:
    return math.log1p(x) if isinstance(x, float) else x.log1p()


def betas(schedule: BetaSchedule, steps: int = 1000) -> Tensor:
    """The variances (T,), float64, that each step of a chain adds.

    ``linear``: 1e-4 to 0.02 (Ho 2020);
    ``cosine``: from abar = cos^2((t + .008) / 1.008 * pi / 2), at most 0.999 (Nichol 2021, Eq. 17);
    ``scaled-linear``: linear in the square root, 0.00085 to 0.012 (Rombach 2022, Stable Diffusion).

    The two linear ones are given for 1000 steps and scaled by 1000 / T otherwise, so that every chain ends in about the
    same noise (Nichol 2021's code); no variance is above 0.999, which shorter chains than 20 steps would ask for.
    """
    if steps < 2:
        raise UsageError(f"a chain of {steps} steps has no way from noise to data: set chain to 2 or more")
    return lookup("schedule", schedule, _BETAS)(steps)


def ramp(shape: str, steps: int, first: float, last: float) -> Tensor:
    """Variances (T,), float64, from ``first`` to ``last``: "linear", or "scaled-linear", linear in the square root."""
    return lookup("shape of betas", shape, _RAMPS)(steps, first, last)


def _linear(steps: int, first: float, last: float) -> Tensor:
    return torch.linspace(first, last, steps, dtype=torch.float64)


def _scaled_linear(steps: int, first: float, last: float) -> Tensor:
    return _linear(steps, first**0.5, last**0.5) ** 2


def _cosine(steps: int) -> Tensor:
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    abar = ((t + 0.008) / 1.008 * math.pi / 2).cos() ** 2
    return (1 - abar[1:] / abar[:-1]).clamp(max=0.999)


def _rescaled(of_thousand: Tensor) -> Tensor:
    return of_thousand.mul(1000 / len(of_thousand)).clamp(max=0.999)


_RAMPS: dict[str, Callable[[int, float, float], Tensor]] = {"linear": _linear, "scaled-linear": _scaled_linear}
_BETAS: dict[str, Callable[[int], Tensor]] = {
    "linear": lambda steps: _rescaled(ramp("linear", steps, 1e-4, 0.02)),
    "cosine": _cosine,
    "scaled-linear": lambda steps: _rescaled(ramp("scaled-linear", steps, 0.00085, 0.012)),
}


def append_dims(scale: Level, image: Tensor) -> Level:
    """``scale`` (B,) shaped so that it multiplies ``image`` (B, ...); a plain number as it is."""
    return scale if isinstance(scale, float) else scale.reshape(-1, *[1] * (image.ndim - 1))


def for_each(level: Level, image: Tensor) -> Tensor:
    """``level`` for every one of B images, (B,)."""
    return image.new_full(image.shape[:1], level) if isinstance(level, float) else level


def add_noise(path: Path, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """The noisy image ``x_t = alpha x0 + std e``, (B, C, H, W)."""
    return append_dims(path.alpha(t), x0) * x0 + append_dims(path.std(t), x0) * noise
