"""Placing and painting scenes: from what a scene holds to where it stands, and from there to pixels.

A scene is placed from its factors (``grammar.FACTORS``) and a row of uniform numbers for all that a
caption leaves open: where, how large exactly, how turned, what shade. So every label is exact, and the
same scene can be painted at any size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.batch import to_float
from zeuxis.data.worlds import grammar, sdf

# Lengths are shares of the picture's side.
RADII = (0.125, 0.2125)  # small, large
RADIUS_JITTER = 0.05  # of the radius, either way
EDGE = 0.02  # least distance of an object from the frame
GAP = 0.03  # least distance between two objects
LEAN = 0.5  # largest offset across a relation, as a share of the distance along it
HORIZON = (0.70, 0.80)
HAZE = 0.06  # the height over which sky turns to ground

# Colours are red, green, blue in [0, 255].
PAINTS = torch.tensor(
    [[222, 40, 44], [247, 138, 28], [250, 216, 40], [42, 166, 72], [44, 92, 228], [156, 62, 198]], dtype=torch.float32
)
SKY_TOP = torch.tensor([[176, 206, 240], [8, 12, 40]], dtype=torch.float32)  # by day, at night
SKY_FOOT = torch.tensor([[232, 238, 246], [26, 32, 72]], dtype=torch.float32)
GROUND = torch.tensor([[208, 214, 186], [20, 30, 36]], dtype=torch.float32)
LIGHT = torch.tensor([1.0, 0.9])  # on the objects, by day and at night
SHADE_JITTER = 10.0  # of sky and ground, either way
PAINT_JITTER = 0.06  # of an object's brightness, either way

SKY_CLASS, GROUND_CLASS, FIRST_SHAPE_CLASS = 0, 1, 2
LAYOUT_NAMES = ("sky", "ground", *grammar.SHAPES)

_TURNS = [math.radians(t / 2) for t in range(-2 * sdf.MAX_TURN, 2 * sdf.MAX_TURN + 1)]
COS = torch.tensor([math.cos(t) for t in _TURNS])  # tables, because vectorised cosines differ in their last bit
SIN = torch.tensor([math.sin(t) for t in _TURNS])
_DRAWN = tuple(sdf.SHAPES[name] for name in grammar.SHAPES)
SLOTS = 14  # uniform numbers per picture: see place()


@dataclass(frozen=True, slots=True)
class Placement:
    """B scenes, placed and lit: all that a picture depends on but its size. Object 1 is the upper or left one."""

    factors: Tensor  # (B, F) int64
    centre: Tensor  # (B, 2, 2): object; x to the right, y down
    radius: Tensor  # (B, 2)
    turn: Tensor  # (B, 2) int64, into the table of turns
    paint: Tensor  # (B, 2, 3)
    sky_top: Tensor  # (B, 3)
    sky_foot: Tensor  # (B, 3)
    ground: Tensor  # (B, 3)
    horizon: Tensor  # (B,)

    def __len__(self) -> int:
        return len(self.factors)

    def shapes(self) -> Tensor:
        """The class of each object, ``(B, 2)`` int64; -1 where there is no object 2."""
        return torch.stack([self.factors[:, 4], self.factors[:, 7] - 1], 1)


def place(factors: Tensor, u: Tensor) -> Placement:
    """Place and light scenes with complete ``factors`` (B, F), by uniform numbers ``u`` (B, SLOTS)."""
    device = factors.device
    time, relation, size_1, colour_1, _, size_2, colour_2, _ = factors.unbind(1)
    sizes = torch.stack([size_1, (size_2 - 1).clamp(min=0)], 1)
    colours = torch.stack([colour_1, (colour_2 - 1).clamp(min=0)], 1)
    radius = torch.tensor(RADII, device=device)[sizes] * (1 + RADIUS_JITTER * (2 * u[:, 0:2] - 1))
    turn = (u[:, 2:4] * len(_TURNS)).long()

    brightness = LIGHT.to(device)[time][:, None] * (1 + PAINT_JITTER * (2 * u[:, 4:6] - 1))
    paint = PAINTS.to(device)[colours] * brightness[..., None]
    shade = SHADE_JITTER * (2 * u[:, 6:9] - 1)
    return Placement(
        factors,
        _place(relation, radius, u[:, 9:13]),
        radius,
        turn,
        paint.clamp(max=255),
        (SKY_TOP.to(device)[time] + shade[:, 0:1]).clamp(0, 255),
        (SKY_FOOT.to(device)[time] + shade[:, 1:2]).clamp(0, 255),
        (GROUND.to(device)[time] + shade[:, 2:3]).clamp(0, 255),
        HORIZON[0] + (HORIZON[1] - HORIZON[0]) * u[:, 13],
    )


def _place(relation: Tensor, radius: Tensor, u: Tensor) -> Tensor:
    """Centres ``(B, 2, 2)``: the objects' boxes lie within the frame and apart along the relation's axis."""
    low, high = EDGE + radius, 1 - EDGE - radius  # (B, 2)
    # Along the axis: object 1 before object 2, what room is left shared out before, between and after them.
    room = 1 - 2 * EDGE - GAP - 2 * radius.sum(1)
    before, upto = torch.minimum(u[:, 0], u[:, 1]), torch.maximum(u[:, 0], u[:, 1])
    along_1 = low[:, 0] + room * before
    along_2 = EDGE + 2 * radius[:, 0] + GAP + radius[:, 1] + room * upto
    # Across it: object 1 anywhere, object 2 where the relation stays plain.
    across_1 = low[:, 0] + (high[:, 0] - low[:, 0]) * u[:, 2]
    reach = LEAN * (along_2 - along_1)
    least = torch.maximum(low[:, 1], across_1 - reach)
    most = torch.minimum(high[:, 1], across_1 + reach)
    across_2 = least + (most - least) * u[:, 3]
    # A single object has the whole frame.
    along_1 = torch.where(relation == 0, low[:, 0] + (high[:, 0] - low[:, 0]) * u[:, 0], along_1)

    across = torch.stack([across_1, across_2], 1)
    along = torch.stack([along_1, along_2], 1)
    upright = (relation == 1)[:, None]  # "above": the axis is y
    return torch.stack([torch.where(upright, across, along), torch.where(upright, along, across)], 2)


def coverage(scene: Placement, size: int) -> Tensor:
    """How much of each pixel each object covers, in [0, 1], ``(B, 2, size, size)``."""
    device = scene.centre.device
    shapes = scene.shapes().flatten()  # (2B,)
    at = (torch.arange(size, device=device) + 0.5)[None, :]  # pixel centres, in pixels
    centre, radius, turn = scene.centre.flatten(0, 1) * size, scene.radius.flatten() * size, scene.turn.flatten()
    cover = torch.zeros(len(shapes), size, size, device=device)
    cos, sin = COS.to(device)[turn], SIN.to(device)[turn]
    x, y = at - centre[:, 0:1], at - centre[:, 1:2]  # (2B, size)
    for k, distance in enumerate(_DRAWN):
        rows = (shapes == k).nonzero()[:, 0]
        grid = sdf.Grid(x[rows], y[rows], radius[rows], cos[rows], sin[rows])
        cover[rows] = distance(grid).neg_().add_(0.5).clamp_(0, 1)
    return cover.view(len(scene), 2, size, size)


def paint(scene: Placement, cover: Tensor) -> Tensor:
    """Images ``(B, 3, H, W)`` in [-1, 1] of objects that ``cover`` (B, 2, H, W) the pixels.

    Values lie on the 256 levels of a picture file, so writing one and reading it back changes nothing.
    """
    size = cover.shape[2]
    row = (torch.arange(size, device=cover.device) + 0.5)[None, :] / size  # (1, H)
    horizon = scene.horizon[:, None]
    fall = (row / horizon).clamp(max=1)[:, None]  # (B, 1, H): 0 at the top, 1 from the horizon on
    earth = ((row - horizon) / HAZE + 0.5).clamp(0, 1)[:, None]
    sky = scene.sky_top[..., None] * (1 - fall) + scene.sky_foot[..., None] * fall  # (B, 3, H)
    back = (sky * (1 - earth) + scene.ground[..., None] * earth)[..., None]  # (B, 3, H, 1)
    # Objects are disjoint, so their contributions add.
    contrast = scene.paint[..., None, None] - back[:, None]  # (B, 2, 3, H, 1)
    image = cover[:, 0:1] * contrast[:, 0]
    image.add_(cover[:, 1:2] * contrast[:, 1]).add_(back)
    return to_float(image.round_())


def layout(scene: Placement, cover: Tensor) -> Tensor:
    """The class of each pixel, ``(B, H, W)`` int64: sky, ground, then the shapes in ``grammar.SHAPES``'s order."""
    size = cover.shape[2]
    row = (torch.arange(size, device=cover.device) + 0.5)[None, :] / size
    classes = (row >= scene.horizon[:, None]).long()[:, :, None].repeat(1, 1, size)
    for k in (0, 1):
        shape = (scene.shapes()[:, k] + FIRST_SHAPE_CLASS)[:, None, None]
        classes = torch.where(cover[:, k] >= 0.5, shape, classes)
    return classes
