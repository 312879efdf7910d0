"""From an arrangement to pixels: distances, coverage, the picture, and every label that follows from them.

Mains never leave their corner, so a corner's quarter of the picture is all that is looked at for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.batch import to_float
from zeuxis.data.worlds import sdf
from zeuxis.data.worlds.placement import FIRST_SHAPE_CLASS
from zeuxis.data.worlds.rich.arrange import Arrangement
from zeuxis.data.worlds.rich.facts import PLACES, SHAPES, TEXTURES, corners
from zeuxis.data.worlds.rich.weather import backdrop, fall

DARK = 0.35  # of the paint, in stripes and dots
PERIOD = 0.8  # of stripes and dots, as a share of the radius
DOT = 0.27  # radius of a dot, likewise
SHINE_AT, SHINE, SHINE_SOFT = (-0.3, -0.35), 0.36, 0.35  # a highlight: its place, its radius and its soft edge
DEPTHS = (0.5, 0.4, 0.3)  # of a main, what is inside it, what is in front of it; the sky is at 1
NEAR_GROUND = 0.6  # the depth of the ground at the lower edge
FAR = 1e4  # the distance of what is not there, in pixels

CLASSES = ("sky", "ground", *SHAPES)
_DRAWN = tuple(sdf.SHAPES[name] for name in SHAPES)


@dataclass(frozen=True, slots=True)
class Layers:
    """What a picture of B scenes is made of, at one size. Layer 0 holds the mains, layer 1 the second objects."""

    distance: Tensor  # (B, 2, H, W): signed, in pixels, negative inside
    paint: Tensor  # (B, 2, 3, H, W), red, green, blue in [0, 255]: where a layer covers
    corner: Tensor  # (H, W) int64: whose quarter a pixel lies in

    @property
    def cover(self) -> Tensor:
        """How much of each pixel each layer covers, ``(B, 2, H, W)`` in [0, 1]."""
        return (0.5 - self.distance).clamp_(0, 1)


def layers(scene: Arrangement, size: int) -> Layers:
    """The objects of ``scene``, apart from their background, on ``size x size`` pixels."""
    device = scene.centre.device
    window = size - size // 2  # of a quarter; where the size is odd, they share the middle row and column
    start = torch.tensor([0, size // 2], device=device)
    at = torch.arange(window, device=device) + 0.5
    x0, y0 = start.repeat(2), start.repeat_interleave(2)  # (4,)
    here = (scene.shape >= 0).nonzero()  # (N, 3): scene, corner, layer
    b, k, layer = here.unbind(1)
    centre, radius = scene.centre[b, k, layer] * size, scene.radius[b, k, layer] * size
    shape = scene.shape[b, k, layer]
    x = at + x0[k][:, None] - centre[:, 0:1]  # (N, window)
    y = at + y0[k][:, None] - centre[:, 1:2]
    grid = sdf.Grid(x, y, radius, scene.cos[b, k, layer], scene.sin[b, k, layer])

    apart = torch.full((len(scene), 4, 2, window, window), FAR, device=device)
    shade = torch.zeros(len(scene), 4, 2, window, window, device=device)  # below 0 towards black, above towards white
    for which, distance in enumerate(_DRAWN):
        rows = (shape == which).nonzero()[:, 0]
        if len(rows):
            apart[b[rows], k[rows], layer[rows]] = distance(_some(grid, rows))
    texture = torch.where(layer == 0, scene.texture[b, k], 0)
    for which, pattern in enumerate(_PATTERNS):
        rows = (texture == which + 1).nonzero()[:, 0]
        if len(rows):
            shade[b[rows], k[rows], layer[rows]] = pattern(_some(grid, rows))
    colour = scene.paint[..., None, None]  # (B, 4, 2, 3, 1, 1)
    shade = shade[:, :, :, None]
    paint = colour * (1 + shade.clamp(max=0)) + (255 - colour) * shade.clamp(min=0)
    half = torch.arange(size, device=device) >= size // 2
    return Layers(_whole(apart, size), _whole(paint, size), half[:, None] * 2 + half[None, :])


def picture(scene: Arrangement, made: Layers) -> Tensor:
    """Images ``(B, 3, H, W)`` in [-1, 1], on the 256 levels of a picture file."""
    image = backdrop(scene, made.corner.shape[0])
    cover = made.cover
    for layer in (0, 1):
        image = image + cover[:, layer : layer + 1] * (made.paint[:, layer] - image)
    return to_float(fall(scene, image).round_().clamp_(0, 255))


def instances(scene: Arrangement, made: Layers) -> Tensor:
    """Whose pixel it is, ``(B, H, W)`` int64: 0 the background, 1 to 4 the mains by corner, 5 to 8 the second objects.

    What is in front hides what is behind.
    """
    visible = made.cover >= 0.5
    return torch.where(visible[:, 1], 5 + made.corner, torch.where(visible[:, 0], 1 + made.corner, 0))


def layout(scene: Arrangement, whose: Tensor) -> Tensor:
    """The class of each pixel in ``CLASSES``, ``(B, H, W)`` int64, from :func:`instances`."""
    size = whose.shape[1]
    row = (torch.arange(size, device=whose.device) + 0.5)[None, :] / size
    back = (row >= scene.horizon[:, None]).long()[:, :, None].expand(whose.shape)
    shapes = scene.shape.transpose(1, 2).flatten(1)  # (B, 8), as instances are numbered
    flat = (whose - 1).clamp(min=0).flatten(1)
    return torch.where(whose > 0, shapes.gather(1, flat).view(whose.shape) + FIRST_SHAPE_CLASS, back)


def depth(scene: Arrangement, whose: Tensor) -> Tensor:
    """How far each pixel is, ``(B, 1, H, W)`` in [0, 1], from :func:`instances`; the sky is at 1."""
    size = whose.shape[1]
    row = (torch.arange(size, device=whose.device) + 0.5)[None, :] / size
    horizon = scene.horizon[:, None]
    near = ((row - horizon) / (1 - horizon)).clamp(min=0)  # (B, H): 0 to the horizon, 1 at the lower edge
    back = (1 - (1 - NEAR_GROUND) * near)[:, :, None].expand(whose.shape)
    front = corners(scene.factors)[..., 4] == 1 + PLACES.index("in front of")  # (B, 4)
    own = torch.full((len(scene), 9), 1.0, device=whose.device)
    own[:, 1:5] = DEPTHS[0]
    own[:, 5:9] = torch.where(front, DEPTHS[2], DEPTHS[1])
    return torch.where(whose > 0, own.gather(1, whose.flatten(1)).view(whose.shape), back)[:, None]


def edges(whose: Tensor) -> Tensor:
    """Where one object ends and another thing begins, bool ``(B, 1, H, W)``, from :func:`instances`.

    A pixel is on an edge if its right or its lower neighbour belongs to something else.
    """
    edge = torch.zeros_like(whose, dtype=torch.bool)
    edge[:, :, :-1] |= whose[:, :, :-1] != whose[:, :, 1:]
    edge[:, :-1] |= whose[:, :-1] != whose[:, 1:]
    return edge[:, None]


def _some(grid: sdf.Grid, rows: Tensor) -> sdf.Grid:
    return sdf.Grid(grid.x[rows], grid.y[rows], grid.radius[rows], grid.cos[rows], grid.sin[rows])


def _whole(quarters: Tensor, size: int) -> Tensor:
    """``(B, 4, ..., w, w)`` side by side as ``(B, ..., size, size)``."""
    h = size // 2
    a, b, c, d = quarters.unbind(1)
    upper = torch.cat([a[..., :h, :h], b[..., :h, :]], -1)
    lower = torch.cat([c[..., :, :h], d], -1)
    return torch.cat([upper, lower], -2)


def _stripes(grid: sdf.Grid) -> Tensor:
    """Bands across the object."""
    period = grid.scaled(PERIOD)
    y = grid.line(0, 1).div_(period)
    off = (y - y.floor()).sub_(0.5).abs_()  # 0 in the middle of a band
    return ((0.25 - off) * period + 0.5).clamp_(0, 1).mul_(DARK - 1)


def _dots(grid: sdf.Grid) -> Tensor:
    """Dots in rows and columns; one in the middle."""
    period = grid.scaled(PERIOD)
    x, y = grid.line(1, 0).div_(period).add_(0.5), grid.line(0, 1).div_(period).add_(0.5)
    x, y = x.sub_(x.floor()).sub_(0.5), y.sub_(y.floor()).sub_(0.5)
    off = (x * x + y * y).sqrt_().mul_(period)
    return (grid.scaled(DOT) - off + 0.5).clamp_(0, 1).mul_(DARK - 1)


def _shine(grid: sdf.Grid) -> Tensor:
    """A highlight, as on something polished, to the upper left."""
    x, y = grid.line(1, 0) - grid.scaled(SHINE_AT[0]), grid.line(0, 1) - grid.scaled(SHINE_AT[1])
    off = (x * x + y * y).sqrt_()
    return ((grid.scaled(SHINE) - off) / grid.scaled(SHINE_SOFT) + 0.5).clamp_(0, 1).mul_(0.8)


_PATTERNS = (_stripes, _dots, _shine)
assert len(_PATTERNS) == len(TEXTURES) - 1
