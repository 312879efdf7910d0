"""Outliers that are made of numbers and owe nothing to a picture but its shape: the same arguments as the damaged."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.nn.outliers.masks import blob, colour, grid
from zeuxis.rng import Rng


def constant(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """One colour, or running into another, with a little noise on half of them."""
    down, right = grid(image)
    u = rng.uniform(len(image), 3, 1, 1, device=image.device)
    along = (torch.cos(2 * math.pi * u[:, 0]) * right + torch.sin(2 * math.pi * u[:, 0]) * down + 1)[:, None] / 2
    first = colour(image, rng)
    made = first + (u[:, 1:2] < 0.5) * along * (colour(image, rng) - first)
    return made + (u[:, 2:] < 0.5) * 0.1 * rng.normal(*image.shape, device=image.device)


def striped(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Waves in one direction between two colours, smooth or with hard edges."""
    down, right = grid(image)
    u = rng.uniform(len(image), 4, 1, 1, device=image.device)
    along = torch.cos(2 * math.pi * u[:, 0]) * right + torch.sin(2 * math.pi * u[:, 0]) * down
    wave = torch.sin(math.pi * (1 + min(image.shape[2:]) / 3 * u[:, 1].square()) * along + 2 * math.pi * u[:, 2])
    wave = torch.where(u[:, 3] < 0.5, wave, wave.sign())[:, None] / 2 + 0.5
    first = colour(image, rng)
    return first + wave * (colour(image, rng) - first)


def blotched(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """Smooth random colour, of 2x2 values to one a pixel, with or without noise."""
    b, c, height, width = image.shape
    side = min((2, 4, 8, 16, height)[int(rng.integers(5, 1))], height, width)
    channels = c if int(rng.integers(2, 1)) else 1
    smooth = F.interpolate(rng.normal(b, channels, side, side, device=image.device), (height, width), mode="bilinear")
    u = rng.uniform(b, 2, 1, 1, device=image.device)[..., None]
    noise = rng.normal(b, channels, height, width, device=image.device)
    return (colour(image, rng) / 2 + (0.2 + u[:, 0]) * smooth + (u[:, 1] - 0.4).clamp(min=0) * noise).expand(
        b, c, -1, -1
    )


def cluttered(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """One to eight shapes of any colour on a colour or on blots: the outlines that photographs and icons have."""
    made = (constant if int(rng.integers(2, 1)) else blotched)(image, others, rng)
    for _ in range(1 + int(rng.integers(8, 1))):
        made = made + blob(image, rng) * (colour(image, rng) - made)
    return made
