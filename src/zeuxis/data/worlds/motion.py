"""The world of motion: one or two shapes that go straight on and bounce off the frame.

A position at any time has a closed form, the reflection of a straight line in the frame, so frames can be had at
any moment without the ones before. Captions name the motions: "a large red circle moving fast to the upper right".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, to_float
from zeuxis.counter import uniforms
from zeuxis.data.worlds import grammar, sdf
from zeuxis.data.worlds.placement import COS, GROUND, PAINTS, RADII, SIN, SKY_TOP
from zeuxis.data.worlds.world import World, draw_split
from zeuxis.rng import derive_seed
from zeuxis.spec import DataSpec, Shape

FRAMES = 4  # of a batch: the last is the image, those before it the source
SPEEDS = ("slowly", "fast")
STEPS = (0.02, 0.06)  # of the picture's side in a frame
DIRECTIONS = ("right", "lower right", "down", "lower left", "left", "upper left", "up", "upper right")
_HALF = 0.5**0.5
_WAYS = torch.tensor(
    [[1, 0], [_HALF, _HALF], [0, 1], [-_HALF, _HALF], [-1, 0], [-_HALF, -_HALF], [0, -1], [_HALF, -_HALF]]
)
_OBJECT = {
    "size": grammar.SIZES,
    "colour": grammar.COLOURS,
    "shape": grammar.SHAPES,
    "direction": DIRECTIONS,
    "speed": SPEEDS,
}
VALUES: dict[str, tuple[str, ...]] = {
    "time": grammar.TIMES,
    **{f"{name}_1": values for name, values in _OBJECT.items()},
    **{f"{name}_2": ("none", *values) for name, values in _OBJECT.items()},
}
FACTORS = tuple((name, len(values)) for name, values in VALUES.items())
_COUNTS = [size for _, size in FACTORS]
APART = 0.3  # at least, along either axis, of the room that the centres have (which is a ring here)
SINGLES = 0.5  # the share of pictures with one object
_DRAWN = tuple(sdf.SHAPES[name] for name in grammar.SHAPES)
_PLACING = 6

WORDS = tuple(
    sorted(
        {word for values in VALUES.values() for value in values for word in value.split()} - {"none", "up", "down"}
        | {"a", "and", "moving", "to", "the", "by", "at", "upwards", "downwards"}
    )
)
"""Every word of captions."""


@dataclass(frozen=True, slots=True)
class Course:
    """B scenes that move. Object 2 goes in front of object 1; they start apart."""

    factors: Tensor  # (B, F) int64
    shape: Tensor  # (B, 2) int64, -1 for no object
    radius: Tensor  # (B, 2)
    start: Tensor  # (B, 2, 2): in the room that the frame leaves to the centre, in [0, 1]
    step: Tensor  # (B, 2, 2): shares of the side in a frame
    turn: Tensor  # (B, 2)

    def centre(self, moment: float) -> Tensor:
        """Where the objects are at frame ``moment``, ``(B, 2, 2)``: reflected in the frame as often as need be."""
        room = 1 - 2 * self.radius[..., None]
        step = self.step / room
        gone = self.start * (1 - step.abs()) + (-step).clamp(min=0) + moment * step  # no bounce in the first frame
        there = 1 - (gone - 2 * (gone / 2).floor() - 1).abs()  # 0 to 1 and back in every 2
        return self.radius[..., None] + room * there


class Motion(World):
    """Frames of moving scenes: the image is frame 3, ``source`` frames 0, 1 and 2 side by side as nine channels.

    Where things go follows from the first frames, and from the caption, which names the directions before any bounce.
    The splits share no row of factors.
    """

    name = "motion"
    natural = DataSpec(
        Shape(3, 64, 64),
        source_shape=Shape(3 * (FRAMES - 1), 64, 64),
        words=WORDS,
        factors=FACTORS,
        provides=frozenset({"source", "caption", "factors"}),
    )

    def __init__(self, size: int = 64, split: str = "train", length: int = 1_000_000) -> None:
        super().__init__(size, split, length)
        self.split = split

    def course(self, index: Tensor) -> Course:
        """What moves in the examples ``index`` (B,), and how."""
        rows = draw_split(self.key, self.checked(index), draw_factors, len(FACTORS) + 1, _COUNTS, self.split)
        u = uniforms(derive_seed(self.key, "placing"), index, _PLACING)
        size = torch.stack([rows[:, 1], (rows[:, 6] - 1).clamp(min=0)], 1)
        way = torch.stack([rows[:, 4], (rows[:, 9] - 1).clamp(min=0)], 1)
        speed = torch.stack([rows[:, 5], (rows[:, 10] - 1).clamp(min=0)], 1)
        step = _WAYS.to(index.device)[way] * torch.tensor(STEPS, device=index.device)[speed][..., None]
        apart = torch.stack([u[:, 0:2], (u[:, 0:2] + APART + (1 - 2 * APART) * u[:, 2:4]) % 1], 1)
        turn = (u[:, 4:6] * len(COS)).long()
        radius = torch.tensor(RADII, device=index.device)[size]
        return Course(rows, torch.stack([rows[:, 3], rows[:, 8] - 1], 1), radius, apart, step, turn)

    def clip(self, index: Tensor, frames: int = FRAMES) -> Tensor:
        """Frames 0 to ``frames - 1``, ``(B, frames, 3, H, W)`` in [-1, 1]."""
        course = self.course(index)
        return torch.stack([paint(course, moment, self.size) for moment in range(frames)], 1)

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64, on the index's device."""
        course = self.course(index)
        frames = [paint(course, moment, self.size) for moment in range(FRAMES)]
        captions = tuple(caption(row) for row in course.factors.tolist())
        condition = Condition(source=torch.cat(frames[:-1], 1), caption=captions, factors=course.factors)
        return Batch(frames[-1], condition, index)


class MotionClips(Motion):
    """Motion as clips: the image is all four frames, one upon the other as twelve channels."""

    name = "motion-clips"
    natural = replace(
        Motion.natural,
        shape=Shape(3 * FRAMES, 64, 64),
        source_shape=None,
        frames=FRAMES,
        provides=frozenset({"caption", "factors"}),
    )

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64, on the index's device."""
        still = super().batch(index)
        assert still.condition.source is not None
        clip = torch.cat([still.condition.source, still.image], 1)
        return Batch(clip, replace(still.condition, source=None), index)


def draw_factors(u: Tensor) -> Tensor:
    """Rows of factors ``(B, F)`` from uniform numbers ``u`` (B, F + 1).

    Of two objects the first is the one whose size, colour, shape, direction and speed come first in their lists:
    a clip of "A and B" is one of "B and A", so only one of the two is ever meant.
    """
    time = (u[:, 0:1] * len(grammar.TIMES)).long()
    counts = [len(values) for values in _OBJECT.values()]
    parts = [(u[:, 1 + k] * n).long() for k, n in enumerate(counts * 2)]
    one, two = torch.stack(parts[: len(counts)], 1), torch.stack(parts[len(counts) :], 1)
    places = torch.tensor([*counts[1:], 1], device=u.device).flip(0).cumprod(0).flip(0)
    later = (one * places).sum(1, keepdim=True) > (two * places).sum(1, keepdim=True)
    both = u[:, -1:] >= SINGLES
    swap = later & both
    first, second = torch.where(swap, two, one), torch.where(swap, one, two)
    return torch.cat([time, first, (second + 1) * both], 1)


def paint(course: Course, moment: float, size: int) -> Tensor:
    """The frame at ``moment``, ``(B, 3, size, size)`` in [-1, 1] on the 256 levels of a file."""
    device = course.radius.device
    at = (torch.arange(size, device=device) + 0.5)[None, :]
    time = course.factors[:, 0]
    down = (at / size)[:, None, :, None]  # (1, 1, H, 1)
    image = SKY_TOP.to(device)[time][..., None, None] * (1 - down) + GROUND.to(device)[time][..., None, None] * down
    image = image.expand(-1, -1, -1, size).clone()
    centre = course.centre(moment) * size
    colour = torch.stack([course.factors[:, 2], (course.factors[:, 7] - 1).clamp(min=0)], 1)
    for which in (0, 1):
        for k, distance in enumerate(_DRAWN):
            rows = (course.shape[:, which] == k).nonzero()[:, 0]
            x, y = at - centre[rows, which, 0:1], at - centre[rows, which, 1:2]
            turn = course.turn[rows, which]
            grid = sdf.Grid(x, y, course.radius[rows, which] * size, COS.to(device)[turn], SIN.to(device)[turn])
            cover = distance(grid).neg_().add_(0.5).clamp_(0, 1)[:, None]
            image[rows] += cover * (PAINTS.to(device)[colour[rows, which]][..., None, None] - image[rows])
    return to_float(image.round_())


def caption(row: Sequence[int]) -> str:
    """``"a small red star moving slowly to the left and a large blue ring moving fast upwards by day"``."""
    value = {name: values[k] for (name, values), k in zip(VALUES.items(), row, strict=True)}
    parts = []
    for k in ("1", "2"):
        if value[f"shape_{k}"] != "none":
            thing = f"a {value[f'size_{k}']} {value[f'colour_{k}']} {value[f'shape_{k}']}"
            parts.append(f"{thing} moving {value[f'speed_{k}']} {_TOWARDS[value[f'direction_{k}']]}")
    return f"{' and '.join(parts)} {'by day' if value['time'] == 'day' else 'at night'}"


_TOWARDS = {name: f"{name}wards" if name in ("up", "down") else f"to the {name}" for name in DIRECTIONS}
