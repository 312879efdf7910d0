"""Noise that is added pixel by pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from zeuxis.degrade.blur import Blur
from zeuxis.degrade.degradation import Degradation
from zeuxis.errors import UsageError
from zeuxis.rng import Rng, normal_like

MOST = 2.0  # a deviation of the whole range, from black to white
LEVELS = 127.5  # of 255, to one of [-1, 1]


def _in_units(part: Degradation, *sigmas: float) -> None:
    """Refuse deviations that can only be meant in levels of 255: of no picture anything would be left."""
    if max(sigmas) > MOST:
        spelt = ",".join(f"{sigma / LEVELS:.3g}" for sigma in sigmas)
        raise UsageError(
            f"{part}: a standard deviation is in units of [-1, 1], {MOST:g} at most; of levels of 255 write "
            f"{part.name}:{spelt}"
        )


@dataclass(frozen=True)
class Noise(Degradation):
    """Adds Gaussian noise of standard deviation ``sigma``, in units of [-1, 1], and clips the sum to that."""

    sigma: float = 0.1
    name = "noise"
    local = True

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < math.inf:
            raise UsageError(f"{self}: the standard deviation must not be below 0")
        _in_units(self, self.sigma)

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        return (image + self.sigma * normal_like(image, rng)).clamp(-1, 1)


@dataclass(frozen=True)
class BlindNoise(Degradation):
    """:class:`Noise` of a strength that nobody tells, drawn evenly from ``least`` to ``most`` for every picture.

    The default is up to 50 levels of 255, as blind denoisers are trained.
    """

    least: float = 0.0
    most: float = 0.392
    name = "blind-noise"
    local = True

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most < math.inf:
            raise UsageError(f"{self}: write the least and the most standard deviation, 0 <= least <= most")
        _in_units(self, self.least, self.most)

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        u = rng.uniform(len(image), device=image.device).to(image.dtype)[:, None, None, None]
        sigma = self.least + (self.most - self.least) * u  # (B, 1, 1, 1)
        return (image + sigma * normal_like(image, rng)).clamp(-1, 1)


@dataclass(frozen=True)
class Shot(Degradation):
    """Counts photons: each value is Poisson, with ``photons`` expected at white; few are much noise."""

    photons: float = 100.0
    name = "shot"
    local = True

    def __post_init__(self) -> None:
        if not 0 < self.photons <= 1e6:
            raise UsageError(f"{self}: the photons at white must lie in (0, 1,000,000]")

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        expected = self.photons * ((image + 1) / 2).clamp(min=0)
        return (rng.poisson(expected) / self.photons * 2 - 1).clamp(max=1)


@dataclass(frozen=True)
class Grain(Degradation):
    """The grain of film: soft, the same in all channels, and strongest in the middle tones."""

    sigma: float = 0.1
    name = "grain"
    local = True

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < math.inf:
            raise UsageError(f"{self}: the standard deviation must not be below 0")
        _in_units(self, self.sigma)

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        b, _, height, width = image.shape
        soft = Blur(0.7).apply(rng.normal(b, 1, height, width, device=image.device).to(image.dtype))
        tone = (1 - image.clamp(-1, 1) ** 2).clamp(min=0.1).sqrt()
        grain = self.sigma * 2.5 * tone * soft  # the blur leaves about 1 / 2.5 of the deviation
        return (image + grain).clamp(-1, 1)
