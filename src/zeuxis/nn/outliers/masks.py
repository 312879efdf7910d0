"""Regions and colours of which outliers are made, each picture's its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zeuxis.rng import Rng


def grid(image: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates ``(1, H, 1)`` down and ``(1, 1, W)`` to the right, in [-1, 1] on the pixels' centres."""
    height, width = image.shape[2:]
    down = (torch.arange(height, device=image.device) + 0.5) * 2 / height - 1
    right = (torch.arange(width, device=image.device) + 0.5) * 2 / width - 1
    return down[None, :, None], right[None, None, :]


def blob(image: Tensor, rng: Rng) -> Tensor:
    """A disc, a flower, a polygon or a ring of one, ``(B, 1, H, W)`` in [0, 1], its edge a pixel wide."""
    b = len(image)
    down, right = grid(image)
    u = rng.uniform(b, 6, 1, 1, device=image.device)
    y, x = down - (1.6 * u[:, 0] - 0.8), right - (1.6 * u[:, 1] - 0.8)  # (B, H, W)
    lobes = 3 + rng.integers(4, b, 1, 1, device=image.device)
    angle = torch.atan2(y, x) + 2 * math.pi * u[:, 4]
    lobed = 1 + 0.45 * torch.cos(lobes * angle)
    polygon = 1 / torch.cos(angle.remainder(2 * math.pi / lobes) - math.pi / lobes)  # over its inner radius
    disc = torch.ones_like(lobed)
    radius = (0.12 + 0.36 * u[:, 2]) * torch.where(u[:, 3] < 0.3, lobed, torch.where(u[:, 3] < 0.7, polygon, disc))
    inside = radius - torch.hypot(x, y)
    inside = torch.where(u[:, 5] < 0.2, torch.minimum(inside, 0.5 * radius - inside), inside)  # a fifth are rings
    return (0.5 + inside * min(image.shape[2:]) / 2).clamp(0, 1)[:, None]


def half_plane(image: Tensor, rng: Rng) -> Tensor:
    """One side of a line through the middle third, bool ``(B, 1, H, W)``; half of the lines run along an axis."""
    b = len(image)
    down, right = grid(image)
    u = rng.uniform(b, 2, 1, 1, device=image.device)
    turn = rng.integers(16, b, 1, 1, device=image.device) * math.pi / 4  # in 8 directions, or in any
    angle = torch.where(turn < 2 * math.pi, turn, 2 * math.pi * u[:, 0])
    return (torch.cos(angle) * right + torch.sin(angle) * down > 0.6 * u[:, 1] - 0.3)[:, None]


def box(image: Tensor, rng: Rng) -> Tensor:
    """A rectangle of a fifth to three fifths of the sides, bool ``(B, 1, H, W)``."""
    down, right = grid(image)
    u = rng.uniform(len(image), 4, 1, 1, device=image.device)
    half = 0.2 + 0.4 * u[:, :2]
    y, x = (2 * u[:, 2] - 1) * (1 - half[:, 0]), (2 * u[:, 3] - 1) * (1 - half[:, 1])
    return (((down - y).abs() <= half[:, 0]) & ((right - x).abs() <= half[:, 1]))[:, None]


def colour(image: Tensor, rng: Rng) -> Tensor:
    """A colour for each picture, ``(B, C, 1, 1)``: any, a grey (black and white among them)."""
    b, c = image.shape[:2]
    any_colour = 2 * rng.uniform(b, c, 1, 1, device=image.device) - 1
    grey = (3 * rng.uniform(b, 1, 1, 1, device=image.device) - 1.5).clamp(-1, 1).expand_as(any_colour)
    return torch.where(rng.integers(2, b, 1, 1, 1, device=image.device) == 0, any_colour, grey)


def paint(image: Tensor, others: Tensor, rng: Rng) -> Tensor:
    """A colour that ``others`` show, ``(B, C, 1, 1)``: of 16 of their pixels, the one that differs most from them."""
    b, c = image.shape[:2]
    at = rng.integers(others[0, 0].numel(), b, 1, 16, device=image.device).expand(-1, c, -1)
    pixels = others.flatten(2).gather(2, at)  # (B, C, 16)
    furthest = (pixels - others.mean((2, 3))[:, :, None]).abs().sum(1).argmax(1)
    return pixels.gather(2, furthest.view(b, 1, 1).expand(-1, c, -1))[..., None]


def far(side: int, rng: Rng) -> int:
    """A shift of a quarter to three quarters of ``side``."""
    return side // 4 + int(rng.integers(max(1, side // 2), 1))
