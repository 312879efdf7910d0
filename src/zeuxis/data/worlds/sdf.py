"""Signed distances to shapes on a pixel grid: negative inside, positive outside, in the grid's unit.

A :class:`Grid` holds, for each of N shapes, the columns' and rows' offsets from its centre. Everything
linear in x and y stays apart along the two axes until one broadcast sum makes the picture, so a
straight edge costs one pass over the pixels.

Only additions, products, square roots, minima and maxima are used: they are correctly rounded on every
machine and in every vector width, so the same shape gives the same bits in any batch.
Straight-edged shapes use distances to the edges' lines, which are exact near the edges and keep corners
sharp; beyond a corner they are lower bounds.

Every shape of radius r lies within the square of half-side r about its centre, turned by up to
``MAX_TURN`` degrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_TURN = 8  # degrees


@dataclass(frozen=True, slots=True)
class Grid:
    """N pixel grids, each centred and turned for its shape."""

    x: Tensor  # (N, W): columns' centres, to the right of the shape's centre
    y: Tensor  # (N, H): rows' centres, below the shape's centre
    radius: Tensor  # (N,)
    cos: Tensor  # (N,) of the turn
    sin: Tensor  # (N,)

    def line(self, a: float, b: float) -> Tensor:
        """``a x' + b y'`` at every pixel, ``(N, H, W)``, in coordinates turned with the shape."""
        along_x = (self.cos * a - self.sin * b)[:, None] * self.x  # (N, W)
        along_y = (self.sin * a + self.cos * b)[:, None] * self.y  # (N, H)
        return along_x[:, None, :] + along_y[:, :, None]

    def length(self) -> Tensor:
        """The distance from the centre at every pixel, ``(N, H, W)``."""
        return ((self.x * self.x)[:, None, :] + (self.y * self.y)[:, :, None]).sqrt_()

    def scaled(self, share: float) -> Tensor:
        """``share`` of the radius, ``(N, 1, 1)``."""
        return (self.radius * share)[:, None, None]


def circle(grid: Grid) -> Tensor:
    """A disc of the radius."""
    return grid.length().sub_(grid.scaled(1.0))


def ring(grid: Grid) -> Tensor:
    """A disc with a concentric hole of half the radius."""
    return grid.length().sub_(grid.scaled(0.75)).abs_().sub_(grid.scaled(0.25))


def square(grid: Grid) -> Tensor:
    """A square whose corners just fit at the widest turn."""
    turn = math.radians(MAX_TURN)
    side = grid.scaled(1 / (math.cos(turn) + math.sin(turn)))
    return torch.maximum(grid.line(1, 0).abs_(), grid.line(0, 1).abs_()).sub_(side)


def triangle(grid: Grid) -> Tensor:
    """An equilateral triangle, point up, its box centred."""
    reach = 1.03  # circumradius: its height is 1.5 of them, its width sqrt(3)
    up = grid.line(0, -1).add_(grid.scaled(reach / 4))  # above the centroid
    slope = grid.line(1, 0).abs_().mul_(math.cos(math.pi / 6)).add_(up * 0.5)
    return torch.maximum(slope, up.neg_()).sub_(grid.scaled(reach / 2))


def star(grid: Grid) -> Tensor:
    """A five-pointed star, point up: the plane is folded along its mirrors until one edge is left."""
    tip, notch = 1.02, 0.47  # distances from the centre
    x, y = grid.line(1, 0).abs_(), grid.line(0, -1)  # y upwards
    y.add_(grid.scaled(tip * (1 - math.sin(math.radians(54))) / 2))  # its box is centred, not its tips
    for normal in (72, 144):  # degrees; what lies behind a mirror is folded to the front
        nx, ny = math.cos(math.radians(normal)), math.sin(math.radians(normal))
        behind = (x * nx).add_(y * ny).clamp_(max=0)
        x.sub_(behind * (2 * nx))
        y.sub_(behind.mul_(2 * ny))
    x.abs_()  # now every pixel lies between the upper tip and the notch to its right
    along = (notch * math.cos(math.radians(54)), notch * math.sin(math.radians(54)) - tip)  # tip to notch
    edge = math.hypot(*along)
    nx, ny = -along[1] / edge, along[0] / edge  # outwards
    return x.mul_(nx).add_(y.mul_(ny)).sub_(grid.scaled(ny * tip))


def cross(grid: Grid) -> Tensor:
    """Two bars across each other, upright."""
    long, wide = grid.scaled(0.95), grid.scaled(0.32)  # half of their sides
    x, y = grid.line(1, 0).abs_(), grid.line(0, 1).abs_()
    return torch.minimum(torch.maximum(x - long, y - wide), torch.maximum(x.sub_(wide), y.sub_(long)))


def diamond(grid: Grid) -> Tensor:
    """A square on its corner, a little narrower than high."""
    a, b = math.cos(math.radians(38)), math.sin(math.radians(38))  # the normal of its edges
    return grid.line(1, 0).abs_().mul_(a).add_(grid.line(0, 1).abs_().mul_(b)).sub_(grid.scaled(b))


def moon(grid: Grid) -> Tensor:
    """A crescent, open to the right."""
    shift, reach = 0.5, 0.78  # of the disc that is taken away
    x, y = grid.x - (grid.radius * grid.cos * shift)[:, None], grid.y - (grid.radius * grid.sin * shift)[:, None]
    bite = Grid(x, y, grid.radius, grid.cos, grid.sin).length().sub_(grid.scaled(reach))
    return torch.maximum(circle(grid), bite.neg_())


SHAPES: dict[str, Callable[[Grid], Tensor]] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "star": star,
    "ring": ring,
    "cross": cross,
    "diamond": diamond,
    "moon": moon,
}
