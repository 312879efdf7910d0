"""Terrain from fractal noise: heights, the land cover by height, and the light of a low sun."""

from __future__ import annotations

import torch
from torch import Tensor

from zeuxis.patterns.perlin import fractal

CLASSES = ("deep water", "shallows", "sand", "grass", "forest", "rock", "snow")
HEIGHTS = (-0.12, 0.0, 0.035, 0.14, 0.26, 0.36)  # above the sea, where one class ends and the next begins
COLOURS = torch.tensor(
    [
        (0.10, 0.25, 0.50),
        (0.22, 0.47, 0.68),
        (0.86, 0.80, 0.58),
        (0.47, 0.66, 0.32),
        (0.22, 0.44, 0.24),
        (0.50, 0.46, 0.43),
        (0.95, 0.96, 0.98),
    ]
)
CELLS, OCTAVES = 3, 6  # of the coarsest lattice along a side
SEA = (-0.15, 0.15)  # the sea's level, from the least to the most
LIGHT, RELIEF = 0.35, 10.0  # how strongly slopes are shaded, and how steep they seem


def heights(seed: Tensor, size: int) -> Tensor:
    """``(B, size + 1, size + 1)`` in [-1, 1]; the last row and column are there for slopes."""
    axis = (torch.arange(size + 1, device=seed.device) + 0.5) * (CELLS / size)
    return fractal(seed, [axis, axis], OCTAVES)


def land(seed: Tensor, sea: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Pictures ``(B, 3, size, size)`` in [-1, 1] and classes ``(B, size, size)`` of seeds and shares ``sea`` (B,)."""
    level = SEA[0] + (SEA[1] - SEA[0]) * sea
    high = heights(seed, size) - level[:, None, None]
    here = high[:, :-1, :-1]
    classes = torch.bucketize(here.contiguous(), torch.tensor(HEIGHTS, device=seed.device), right=True)  # (B, H, W)
    # The sun stands in the upper left: what falls towards it is bright. Water lies flat.
    slope = (high[:, 1:, :-1] - here) + (high[:, :-1, 1:] - here)
    steep = RELIEF * size / 64 * slope
    shade = 1 + LIGHT * steep / (1 + steep * steep).sqrt() * (here > 0)  # never beyond 1 +- LIGHT
    image = (COLOURS.to(seed.device)[classes] * shade[..., None]).clamp(0, 1).permute(0, 3, 1, 2)
    return image.mul(255).round_().mul_(2 / 255).sub_(1).contiguous(), classes
