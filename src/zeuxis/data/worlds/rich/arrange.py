"""Where the objects of a rich scene stand and how they are lit, apart from any picture's size.

Every corner is placed by its own uniform numbers: to take an object away, or to change it, leaves the others
where they are. Lengths are shares of the picture's side; colours are red, green, blue in [0, 255].
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from zeuxis.counter import mix, uniforms
from zeuxis.data.worlds.placement import COS, PAINTS, SIN
from zeuxis.data.worlds.rich.facts import CORNERS, SEASONS, TIMES, WEATHERS, corners

RADII = (0.0, 0.13, 0.225)  # of no main, a small one, a large one
BEHIND = 0.185  # of a large one behind another, so that both have room
SECOND_RADIUS = 0.1
RADIUS_JITTER = 0.03  # of the radius, either way
EDGE = 0.012  # least distance of an object from the border of its corner
BESIDE = (0.15, 0.13)  # from a main's centre to that of the object in front: sideways, down
SPEED = 0.06  # the most that an object goes along either axis in one moment
PAINT_JITTER = 0.06  # of an object's brightness, either way
SHADE_JITTER = 8.0  # of sky and ground, either way
HORIZON = (0.60, 0.78)
LIGHT = torch.tensor([1.0, 0.9])  # on the objects, by day and at night

SKY_TOP = torch.tensor([[150, 196, 244], [8, 12, 40]], dtype=torch.float32)  # by day, at night
SKY_FOOT = torch.tensor([[222, 236, 248], [28, 34, 74]], dtype=torch.float32)
OVERCAST = torch.tensor([[178, 184, 192], [30, 33, 44]], dtype=torch.float32)  # where it is not clear
GLOOM = torch.tensor([0.0, 0.6, 0.85, 0.9])  # how overcast each weather is
GROUND = torch.tensor([[196, 222, 150], [120, 176, 92], [206, 172, 112], [238, 242, 248]], dtype=torch.float32)
GROUND_LIGHT = torch.tensor([1.0, 0.32])
assert len(GLOOM) == len(WEATHERS) and len(GROUND) == len(SEASONS) and len(LIGHT) == len(TIMES)

PLACING = 11  # uniform numbers of a corner
LIGHTING = 6  # and of the scene
SLOTS = LIGHTING + len(CORNERS) * PLACING


@dataclass(frozen=True, slots=True)
class Arrangement:
    """B scenes, placed and lit. Axis 4: corner; axis 2: the main object, the second one."""

    factors: Tensor  # (B, F) int64
    shape: Tensor  # (B, 4, 2) int64, into facts.SHAPES; -1 for none
    texture: Tensor  # (B, 4) int64, of the main objects, into facts.TEXTURES; -1 for none
    centre: Tensor  # (B, 4, 2, 2): x to the right, y down
    radius: Tensor  # (B, 4, 2)
    cos: Tensor  # (B, 4, 2) of the turn
    sin: Tensor  # (B, 4, 2)
    paint: Tensor  # (B, 4, 2, 3)
    sky_top: Tensor  # (B, 3)
    sky_foot: Tensor  # (B, 3)
    ground: Tensor  # (B, 3)
    horizon: Tensor  # (B,)
    sun: Tensor  # (B, 2): where sun or moon glow
    key: Tensor  # (B,) int64: what clouds, flowers, leaves, drops and flakes are drawn from, which no label states

    def __len__(self) -> int:
        return len(self.factors)

    def rows(self, some: slice) -> Arrangement:
        """Some of the scenes."""
        return Arrangement(**{f.name: getattr(self, f.name)[some] for f in fields(self)})


def arrange(factors: Tensor, key: int, index: Tensor, moment: float = 0.0) -> Arrangement:
    """Place and light scenes of complete ``factors`` (B, F), by the numbers of the examples ``index`` (B,).

    At another ``moment`` every main has gone on, with its second object, and turned back where its corner ends.
    """
    u = uniforms(key, index, SLOTS)
    device = factors.device
    own = corners(factors)  # (B, 4, EACH)
    v = u[:, LIGHTING:].unflatten(1, (len(CORNERS), PLACING))  # (B, 4, PLACING)
    has_main, has_second, front = own[..., 0] > 0, own[..., 4] > 0, own[..., 4] == 2

    main = torch.tensor(RADII, device=device)[own[..., 2]]  # (B, 4)
    main = torch.where(front, BEHIND, main) * (1 + RADIUS_JITTER * (v[..., 0] - 1))  # never larger
    second = SECOND_RADIUS * (1 + RADIUS_JITTER * (v[..., 1] - 1))
    side = torch.where(v[..., 4] < 0.5, -1.0, 1.0)  # an object in front stands to the left or right, below
    beside = torch.stack([side * BESIDE[0], torch.full_like(side, BESIDE[1])], -1) * front[..., None]  # (B, 4, 2)
    low = torch.maximum(main[..., None], second[..., None] - beside)  # how far a corner's objects reach
    high = torch.maximum(main[..., None], second[..., None] + beside)
    first = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.5, 0.5]], device=device) + EDGE
    room = 0.5 - 2 * EDGE - low - high  # what a corner leaves to its objects
    gone = v[..., 2:4] + moment * SPEED * (2 * v[..., 9:11] - 1) / room
    turned = (gone - 2 * (gone / 2).floor() - 1).abs()  # there and back between 0 and 1 in every 2
    centre = first + low + room * (1 - turned)
    inner = centre + beside

    turn = (v[..., 5:7] * len(COS)).long()
    time, season, weather = factors[:, 0], factors[:, 1], factors[:, 2]
    colour = torch.stack([own[..., 1], own[..., 6]], -1).sub(1).clamp(min=0)  # (B, 4, 2)
    bright = LIGHT.to(device)[time][:, None, None] * (1 + PAINT_JITTER * (2 * v[..., 7:9] - 1))
    shade = SHADE_JITTER * (2 * u[:, 0:3] - 1)
    gloom = GLOOM.to(device)[weather][:, None]
    grey = OVERCAST.to(device)[time]
    ground = GROUND.to(device)[season] * GROUND_LIGHT.to(device)[time][:, None]
    return Arrangement(
        factors,
        torch.stack([own[..., 0], own[..., 5]], -1) - 1,
        own[..., 3] - 1,
        torch.stack([centre, inner], 2),
        torch.stack([main * has_main, second * has_second], -1),
        COS.to(device)[turn],
        SIN.to(device)[turn],
        (PAINTS.to(device)[colour] * bright[..., None]).clamp(max=255),
        (SKY_TOP.to(device)[time] * (1 - gloom) + grey * gloom + shade[:, 0:1]).clamp(0, 255),
        (SKY_FOOT.to(device)[time] * (1 - gloom) + grey * gloom + shade[:, 1:2]).clamp(0, 255),
        (ground + shade[:, 2:3]).clamp(0, 255),
        HORIZON[0] + (HORIZON[1] - HORIZON[0]) * u[:, 3],
        torch.stack([0.08 + 0.84 * u[:, 4], 0.05 + 0.1 * u[:, 5]], 1),
        mix(index + key),
    )
