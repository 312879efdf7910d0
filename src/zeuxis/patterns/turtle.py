"""A turtle that tosses a coin at every step: left or right (turtle graphics: Papert 1980, "Mindstorms").

After n steps of angle a, turning right with probability p, the heading is a
sum of n independent terms, so its mean is n a (2p - 1) and its variance 4 n a^2 p (1 - p).

Axes: N steps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def headings(u: Tensor, angle: float, right: float) -> Tensor:
    """Headings ``(B, N)`` in radians after each step, from uniform numbers ``u`` (B, N); 0 is up, right is positive."""
    return torch.where(u < right, angle, -angle).cumsum(1)


def heading_moments(steps: int, angle: float, right: float) -> tuple[float, float]:
    """The mean and the variance of the heading after ``steps``."""
    return steps * angle * (2 * right - 1), 4 * steps * angle**2 * right * (1 - right)


def path(heading: Tensor) -> Tensor:
    """The points ``(B, N + 1, 2)``, x and y (down), of steps of length one."""
    step = torch.stack([heading.sin(), -heading.cos()], 2)
    return torch.cat([torch.zeros_like(step[:, :1]), step.cumsum(1)], 1)


def fitted(points: Tensor, margin: float = 0.08, size: tuple[int, int] = (1, 1)) -> Tensor:
    """Moved and scaled, so that each path fills the unit square up to ``margin``.

    ``size`` are the height and width of the picture that the square stands for: there the path is not stretched.
    """
    low, high = points.amin(1, keepdim=True), points.amax(1, keepdim=True)
    sides = torch.tensor([size[1], size[0]], dtype=points.dtype, device=points.device) / min(size)  # across and down
    scale = (1 - 2 * margin) / ((high - low) / sides).amax(2, keepdim=True).clamp(min=1e-6)
    return (points - (low + high) / 2) * scale / sides + 0.5


def drawn(points: Tensor, size: tuple[int, int], width: float) -> Tensor:
    """How much a pen of ``width`` pixels along ``points`` (B, N + 1, 2) in the unit square covers: ``(B, H, W)``."""
    height, wide = size
    scaled = points * torch.tensor([wide, height], dtype=points.dtype, device=points.device)
    x = (torch.arange(wide, device=points.device) + 0.5)[None, None, :]
    y = (torch.arange(height, device=points.device) + 0.5)[None, :, None]
    nearest = torch.full((len(points), height, wide), math.inf, device=points.device)
    for k in range(points.shape[1] - 1):
        nearest = torch.minimum(nearest, segment(x, y, scaled[:, k], scaled[:, k + 1]))
    return (width / 2 + 0.5 - nearest.sqrt()).clamp(0, 1)


def segment(x: Tensor, y: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """The squared distance ``(B, H, W)`` of every pixel to the lines from ``start`` to ``end`` (B, 2)."""
    way = end - start
    dx, dy = x - start[:, 0, None, None], y - start[:, 1, None, None]
    wx, wy = way[:, 0, None, None], way[:, 1, None, None]
    share = ((dx * wx + dy * wy) / (wx**2 + wy**2).clamp(min=1e-12)).clamp(0, 1)
    return (dx - share * wx) ** 2 + (dy - share * wy) ** 2
