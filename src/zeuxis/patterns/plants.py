"""Plants whose growth is decided by five dice, thrown once at every node of the stem.

    nothing        the stem grows on            three        a twig with a leaf
    pair           a leaf                       full house   a twig with a flower
    two pairs      a leaf on either side        four         a twig on either side
    straight       a long shoot                 five         a large flower on the stem

The sum of the dice bends the stem; the commonest face is the colour of what flowers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.patterns.dice import KINDS, kind
from zeuxis.patterns.turtle import segment

SKY_TOP, SKY_FOOT, SOIL = (0.72, 0.85, 0.95), (0.95, 0.97, 0.98), (0.45, 0.33, 0.24)
GREEN, STEM = (0.25, 0.58, 0.28), (0.30, 0.45, 0.22)
PETALS = torch.tensor(
    [
        (0.90, 0.25, 0.30),
        (0.97, 0.60, 0.15),
        (0.98, 0.85, 0.20),
        (0.95, 0.95, 0.98),
        (0.35, 0.45, 0.90),
        (0.68, 0.35, 0.80),
    ]
)  # one for each face
HEART = (0.55, 0.35, 0.10)
GROUND = 0.92  # of the height
BEND = math.radians(5)  # for each pip above the mean
TWIG, LEAN = 0.11, math.radians(50)  # the length of a twig, and its angle to the stem


@dataclass(frozen=True)
class Canvas:
    """Pictures that are painted over, ``(B, 3, H, W)`` in [0, 1], and their pixels' centres."""

    image: Tensor
    x: Tensor  # (1, 1, W)
    y: Tensor  # (1, H, 1)

    def over(self, distance: Tensor, colour: Tensor, there: Tensor) -> None:
        """Paint ``colour`` (B, 3) where ``distance`` (B, H, W), in pixels, is below 0, by the share ``there`` (B,)."""
        cover = ((0.5 - distance).clamp(0, 1) * there[:, None, None])[:, None]
        self.image.add_(cover * (colour[:, :, None, None] - self.image))


def grow(dice: Tensor, size: int) -> Tensor:
    """Pictures ``(B, 3, size, size)`` in [-1, 1] of the plants that throws ``(B, nodes, 5)`` make."""
    b, nodes, _ = dice.shape
    kinds, counts = kind(dice), torch.nn.functional.one_hot(dice, 6).sum(2)  # (B, nodes), (B, nodes, 6)
    petals = PETALS[counts.argmax(2)]  # (B, nodes, 3)
    canvas = _ground(b, size)
    green, brown = (torch.tensor(c).expand(b, 3) for c in (GREEN, STEM))
    reach = (GROUND - 0.12) / nodes  # of a node, so that the tallest plants stay inside
    at, heading = torch.tensor([0.5, GROUND]).expand(b, 2), torch.zeros(b)
    for k in range(nodes):
        is_a = {name: kinds[:, k] == index for index, name in enumerate(KINDS)}
        heading = (heading + BEND * (dice[:, k].float().mean(1) - 2.5) * 2).clamp(-0.7, 0.7)
        length = reach * torch.where(is_a["straight"], 1.0, 0.72)
        tip = at + length[:, None] * _way(heading)
        thick = size * 0.012 * (1.6 - k / nodes)
        canvas.over(_line(canvas, at, tip, size) - thick, brown, torch.ones(b))
        side = 1.0 if k % 2 else -1.0
        for hand in (side, -side):
            both = hand != side
            twig = is_a["four"] if both else is_a["three"] | is_a["full house"] | is_a["four"]
            leaf = is_a["two pairs"] if both else is_a["pair"] | is_a["two pairs"]
            aside = heading + hand * LEAN
            end = tip + TWIG * _way(aside)
            canvas.over(_line(canvas, tip, end, size) - size * 0.008, brown, twig.float())
            _leaf(canvas, tip, aside, size, green, leaf.float())
            _leaf(canvas, end, aside, size, green, (twig & ~is_a["full house"]).float())
            if not both:
                _flower(canvas, end, 0.045, size, petals[:, k], is_a["full house"].float())
        _flower(canvas, tip, 0.075, size, petals[:, k], is_a["five"].float())
        at = tip
    _flower(canvas, at, 0.055, size, petals[:, -1], torch.ones(b))  # every plant ends in one
    return canvas.image.mul(255).round_().mul_(2 / 255).sub_(1)


def _ground(b: int, size: int) -> Canvas:
    x, y = (torch.arange(size) + 0.5)[None, None, :], (torch.arange(size) + 0.5)[None, :, None]
    fall = (y / size)[None]  # (1, 1, H, 1)
    sky = torch.tensor(SKY_TOP)[None, :, None, None] * (1 - fall) + torch.tensor(SKY_FOOT)[None, :, None, None] * fall
    image = sky.expand(b, 3, size, size).clone()
    canvas = Canvas(image, x, y)
    canvas.over((GROUND * size - y).expand(b, size, size), torch.tensor(SOIL).expand(b, 3), torch.ones(b))
    return canvas


def _way(heading: Tensor) -> Tensor:
    return torch.stack([heading.sin(), -heading.cos()], 1)


def _line(canvas: Canvas, start: Tensor, end: Tensor, size: int) -> Tensor:
    return segment(canvas.x, canvas.y, start * size, end * size).sqrt()


def _leaf(canvas: Canvas, foot: Tensor, heading: Tensor, size: int, colour: Tensor, there: Tensor) -> None:
    """An ellipse that grows from ``foot`` along ``heading``."""
    long, wide = 0.055 * size, 0.022 * size
    centre = (foot + 0.05 * _way(heading)) * size
    dx, dy = canvas.x - centre[:, 0, None, None], canvas.y - centre[:, 1, None, None]
    sin, cos = heading.sin()[:, None, None], heading.cos()[:, None, None]
    along, across = dx * sin - dy * cos, dx * cos + dy * sin
    canvas.over((((along / long) ** 2 + (across / wide) ** 2).sqrt() - 1) * wide, colour, there)


def _flower(canvas: Canvas, at: Tensor, radius: float, size: int, colour: Tensor, there: Tensor) -> None:
    """Five petals about a heart."""
    centre = at * size
    for k in range(5):
        turn = 2 * math.pi * k / 5
        offset = 0.6 * radius * size * torch.tensor([math.sin(turn), -math.cos(turn)])
        canvas.over(_disc(canvas, centre + offset, 0.48 * radius * size), colour, there)
    canvas.over(_disc(canvas, centre, 0.35 * radius * size), torch.tensor(HEART).expand_as(colour), there)


def _disc(canvas: Canvas, centre: Tensor, radius: float) -> Tensor:
    dx, dy = canvas.x - centre[:, 0, None, None], canvas.y - centre[:, 1, None, None]
    return (dx**2 + dy**2).sqrt() - radius
