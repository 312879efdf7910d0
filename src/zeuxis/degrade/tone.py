"""Degradations of tone and colour: grey, exposure, film, fading."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from zeuxis.degrade.degradation import Degradation, Linear
from zeuxis.errors import UnknownName, UsageError
from zeuxis.rng import Rng

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class ToGrey(Linear):
    """A weighted mean of red, green and blue, kept in three channels; grey pictures stay as they are."""

    @property
    def weights(self) -> tuple[float, float, float]:
        raise NotImplementedError

    def apply(self, image: Tensor) -> Tensor:
        if image.shape[1] == 1:
            return image
        return self._column(image).mul(image).sum(1, keepdim=True).expand_as(image)

    def adjoint(self, measured: Tensor) -> Tensor:
        if measured.shape[1] == 1:
            return measured
        return measured.sum(1, keepdim=True) * self._column(measured)

    def _column(self, image: Tensor) -> Tensor:
        if image.shape[1] != 3:
            raise UsageError(f"{self}: pictures have {image.shape[1]} channels: give it 1 or 3")
        return image.new_tensor(self.weights)[:, None, None]  # (3, 1, 1)


@dataclass(frozen=True)
class Grey(ToGrey):
    """Removes colour, by the luma of ITU-R BT.601."""

    name = "grey"

    @property
    def weights(self) -> tuple[float, float, float]:
        return LUMA


FILMS = {
    "blue": (0.0, 0.0, 1.0),  # to about 1873: the sky is white, lips and brick are black
    "orthochromatic": (0.0, 0.5, 0.5),  # to about 1906: blind to red
    "panchromatic": LUMA,
}


@dataclass(frozen=True)
class Film(ToGrey):
    """The spectral response of an old film (the three of Luo et al. 2021, "Time-Travel Rephotography", 2012.12261)."""

    kind: str = "orthochromatic"
    name = "film"

    def __post_init__(self) -> None:
        if self.kind not in FILMS:
            raise UnknownName("film", self.kind, FILMS)

    @property
    def weights(self) -> tuple[float, float, float]:
        return FILMS[self.kind]


@dataclass(frozen=True)
class Expose(Degradation):
    """Exposes ``stops`` more (or, below 0, less) and clips what is too bright: light doubles with every stop."""

    stops: float = 1.0
    name = "expose"

    def __post_init__(self) -> None:
        if not math.isfinite(self.stops):
            raise UsageError(f"{self}: the stops must be a finite number")

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        light = to_light((image + 1) / 2) * 2.0**self.stops
        return from_light(light.clamp(0, 1)) * 2 - 1


PAPER = (0.86, 0.79, 0.62)  # an old print's white, in [0, 1]


@dataclass(frozen=True)
class Fade(Degradation):
    """Contrast is lost and the paper yellows, by ``amount`` from 0 to 1."""

    amount: float = 0.4
    name = "fade"

    def __post_init__(self) -> None:
        if not 0 <= self.amount <= 1:
            raise UsageError(f"{self}: the amount must lie in [0, 1]")

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        paper = image.new_tensor(PAPER)[:, None, None] if image.shape[1] == 3 else image.new_tensor(PAPER).mean()
        printed = (image + 1) / 2 * (1 + self.amount * (paper - 1))  # the white turns into paper
        veiled = printed + self.amount * 0.35 * (paper - printed)  # and the black into grey
        return veiled * 2 - 1


def to_light(value: Tensor) -> Tensor:
    """sRGB values in [0, 1] to linear light (IEC 61966-2-1)."""
    value = value.clamp(min=0)
    return (value / 12.92).where(value <= 0.04045, ((value + 0.055) / 1.055) ** 2.4)


def from_light(light: Tensor) -> Tensor:
    """Linear light in [0, 1] to sRGB values."""
    light = light.clamp(min=0)
    return (light * 12.92).where(light <= 0.0031308, 1.055 * light.clamp(min=1e-8) ** (1 / 2.4) - 0.055)
