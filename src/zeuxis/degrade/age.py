"""Scratches, and the look of an old photograph."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.degrade.blur import Blur
from zeuxis.degrade.degradation import Degradation
from zeuxis.degrade.noise import Grain
from zeuxis.degrade.tone import FILMS, Fade, Film
from zeuxis.errors import UsageError
from zeuxis.rng import Rng

DUST = 3  # specks to a scratch


@dataclass(frozen=True)
class Scratches(Degradation):
    """``count`` scratches, light or dark, mostly upright and straight, and three times as many specks of dust."""

    count: int = 5
    name = "scratches"
    local = True

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"{self}: the number of scratches must be at least 1")

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        b, _, height, width = image.shape
        side = min(height, width)
        x = torch.arange(width, device=image.device) + 0.5
        y = (torch.arange(height, device=image.device) + 0.5)[:, None]
        for u in rng.uniform(b, self.count, 8, device=image.device).unbind(1):  # (B, 8): one scratch
            x0, lean, bow, wide, low, high, strength, light = (v[:, None, None] for v in u.unbind(1))
            t = y / height - 0.5  # (H, 1): from the top, -1/2, to the bottom, 1/2
            centre = width * (x0 + 0.25 * (2 * lean - 1) * t + 0.15 * (2 * bow - 1) * t**2)  # (B, H, 1)
            half = side * (0.003 + 0.006 * wide) + 0.2
            ends = (torch.minimum(low, high) - 0.5, torch.maximum(low, high) - 0.5)
            inside = ((t >= ends[0]) & (t <= ends[1])).to(image.dtype)
            cover = (half + 0.5 - (x - centre).abs()).clamp(0, 1) * inside * (0.4 + 0.6 * strength)  # (B, H, W)
            image = _over(image, cover, light)
        for u in rng.uniform(b, DUST * self.count, 4, device=image.device).unbind(1):
            across, down, wide, light = (v[:, None, None] for v in u.unbind(1))
            off = ((x - across * width) ** 2 + (y - down * height) ** 2).sqrt()
            image = _over(image, (side * 0.012 * wide**2 + 0.7 - off).clamp(0, 1), light)
        return image


def _over(image: Tensor, cover: Tensor, light: Tensor) -> Tensor:
    """``image`` with what ``cover`` (B, H, W) hides painted light where ``light`` is below 0.7, else dark."""
    colour = torch.where(light < 0.7, 0.9, -0.9)[:, None].to(image.dtype)
    return image + cover[:, None].to(image.dtype) * (colour - image)


@dataclass(frozen=True)
class Age(Degradation):
    """An old photograph: one of the films, soft, grainy, faded and scratched, by ``amount`` from 0 to 1.

    Which film, and how much of each within the amount, is drawn for every picture.
    """

    amount: float = 0.7
    name = "age"

    def __post_init__(self) -> None:
        if not (0 < self.amount <= 1 and math.isfinite(self.amount)):
            raise UsageError(f"{self}: the amount must lie in (0, 1]")

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        return torch.stack([self._one(one[None], own)[0] for one, own in zip(image, rng.each(len(image)), strict=True)])

    def _one(self, image: Tensor, rng: Rng) -> Tensor:
        soft, grain, fade, scratched = (self.amount * (0.5 + rng.uniform(4) / 2)).tolist()
        film = list(FILMS)[int(rng.integers(len(FILMS), 1))]
        steps: tuple[Degradation, ...] = (
            Film(film),
            Blur(0.2 + soft * min(image.shape[2:]) / 100),
            Grain(0.15 * grain),
            Fade(0.7 * fade),
            Scratches(1 + round(5 * scratched)),
        )
        for part in steps:
            image = part(image, rng)
        return image
