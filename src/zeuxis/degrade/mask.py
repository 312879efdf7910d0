"""Degradations that hide a part of the picture, painting it middle grey.

Axes: S strokes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.degrade.degradation import Linear, Masking
from zeuxis.errors import UsageError
from zeuxis.rng import Rng


def _share(part: Masking, share: float) -> None:
    if not 0 < share <= 1:
        raise UsageError(f"{part}: the share of each side must lie in (0, 1]")


class Still(Masking, Linear):
    """Hides the same place in every picture. It is its own adjoint."""

    def place(self, image: Tensor) -> Tensor:
        """``(B, 1, H, W)``: 1 where the picture is lost."""
        raise NotImplementedError

    def mask(self, image: Tensor, rng: Rng) -> Tensor:
        return self.place(image)

    def apply(self, image: Tensor) -> Tensor:
        return image * (1 - self.place(image))

    def adjoint(self, measured: Tensor) -> Tensor:
        return self.apply(measured)


@dataclass(frozen=True)
class Mask(Still):
    """Hides a centred box of ``share`` of each side."""

    share: float = 0.5
    name = "mask"

    def __post_init__(self) -> None:
        _share(self, self.share)

    def place(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        lost = image.new_zeros(len(image), 1, height, width)
        rows, columns = round(self.share * height), round(self.share * width)
        top, left = (height - rows) // 2, (width - columns) // 2
        lost[:, :, top : top + rows, left : left + columns] = 1
        return lost


@dataclass(frozen=True)
class Outpaint(Still):
    """Hides all but a centred box of ``1 - share`` of each side: for extending a picture beyond its frame."""

    share: float = 0.5
    name = "outpaint"

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UsageError(f"{self}: the share of each side must lie between 0 and 1, or nothing is left")

    def place(self, image: Tensor) -> Tensor:
        return 1 - Mask(1 - self.share).place(image)


@dataclass(frozen=True)
class Uncrop(Masking):
    """Hides ``share`` of the picture at its left, right, upper or lower side, drawn anew for every picture."""

    share: float = 0.5
    name = "uncrop"

    def __post_init__(self) -> None:
        _share(self, self.share)

    def mask(self, image: Tensor, rng: Rng) -> Tensor:
        height, width = image.shape[2:]
        rows, columns = round(self.share * height), round(self.share * width)
        sides = image.new_zeros(4, 1, height, width)
        sides[0, :, :, :columns] = sides[1, :, :, width - columns :] = 1
        sides[2, :, :rows] = sides[3, :, height - rows :] = 1
        return sides[rng.integers(4, len(image), device=image.device)]


@dataclass(frozen=True)
class Hole(Masking):
    """Hides a box of ``share`` of each side, anywhere in the picture."""

    share: float = 0.5
    name = "hole"

    def __post_init__(self) -> None:
        _share(self, self.share)

    def mask(self, image: Tensor, rng: Rng) -> Tensor:
        height, width = image.shape[2:]
        rows, columns = round(self.share * height), round(self.share * width)
        place = rng.uniform(len(image), 2, device=image.device)  # (B, 2)
        top = (place[:, :1] * (height - rows + 1)).floor()  # (B, 1)
        left = (place[:, 1:] * (width - columns + 1)).floor()
        y, x = torch.arange(height, device=image.device), torch.arange(width, device=image.device)
        across = (y >= top) & (y < top + rows)  # (B, H)
        along = (x >= left) & (x < left + columns)  # (B, W)
        return (across[:, :, None] & along[:, None, :])[:, None].to(image.dtype)


VERTICES = 6  # of a stroke
WIDTHS = (0.06, 0.14)  # of the brush, as shares of the shorter side
STEPS = (0.1, 0.35)  # from one vertex to the next
TURN = 2.0  # radians, at most, either way


@dataclass(frozen=True)
class Strokes(Masking):
    """Hides what a brush passes in ``count`` wandering strokes (free-form masks, after Yu et al. 2018, 1806.03589)."""

    count: int = 3
    name = "strokes"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"{self}: the number of strokes must be at least 1")

    def mask(self, image: Tensor, rng: Rng) -> Tensor:
        b, _, height, width = image.shape
        u = rng.uniform(b, self.count, 4 + 2 * VERTICES, device=image.device)
        side = min(height, width)
        brush = side * (WIDTHS[0] + (WIDTHS[1] - WIDTHS[0]) * u[..., 0]) / 2  # (B, S): its radius
        at = torch.stack([u[..., 1] * width, u[..., 2] * height], -1)  # (B, S, 2)
        heading = 2 * torch.pi * u[..., 3]
        x = (torch.arange(width, device=image.device) + 0.5)[None, None, None, :]
        y = (torch.arange(height, device=image.device) + 0.5)[None, None, :, None]
        lost = torch.zeros(b, self.count, height, width, dtype=torch.bool, device=image.device)
        for k in range(VERTICES):
            heading = heading + TURN * (2 * u[..., 4 + 2 * k] - 1)
            far = side * (STEPS[0] + (STEPS[1] - STEPS[0]) * u[..., 5 + 2 * k])
            way = torch.stack([heading.cos(), heading.sin()], -1)  # (B, S, 2)
            dx, dy = x - at[..., 0, None, None], y - at[..., 1, None, None]  # (B, S, H, W)
            along = (dx * way[..., 0, None, None] + dy * way[..., 1, None, None]).clamp(min=0)
            along = torch.minimum(along, far[..., None, None])
            off = (dx - along * way[..., 0, None, None]) ** 2 + (dy - along * way[..., 1, None, None]) ** 2
            lost |= off <= brush[..., None, None] ** 2
            at = at + far[..., None] * way
        return lost.any(1, keepdim=True).to(image.dtype)
