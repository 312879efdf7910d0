"""Degradations that are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.degrade.degradation import Degradation
from zeuxis.errors import UsageError
from zeuxis.rng import Rng, normal_like


@dataclass(frozen=True)
class Noise(Degradation):
    """Adds Gaussian noise of standard deviation ``sigma``, in units of [-1, 1]; nothing is clipped."""

    sigma: float
    name = "noise"

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < math.inf:
            raise UsageError(f"noise:{self.sigma:g}: the standard deviation must not be below 0")

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        return image + self.sigma * normal_like(image, rng)


@dataclass(frozen=True)
class Hole(Degradation):
    """Paints a box of ``share`` of each side middle grey, anywhere in the picture."""

    share: float
    name = "hole"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(f"hole:{self.share:g}: the share of each side must lie in (0, 1]")

    def mask(self, image: Tensor, rng: Rng) -> Tensor:
        """``(B, 1, H, W)``: 1 where the picture is lost, as in ``Condition.mask``."""
        height, width = image.shape[2:]
        rows, columns = round(self.share * height), round(self.share * width)
        place = rng.uniform(len(image), 2, device=image.device)  # (B, 2)
        top = (place[:, :1] * (height - rows + 1)).floor()  # (B, 1)
        left = (place[:, 1:] * (width - columns + 1)).floor()
        y, x = torch.arange(height, device=image.device), torch.arange(width, device=image.device)
        across = (y >= top) & (y < top + rows)  # (B, H)
        along = (x >= left) & (x < left + columns)  # (B, W)
        return (across[:, :, None] & along[:, None, :])[:, None].to(image.dtype)

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        return image * (1 - self.mask(image, rng))
