"""Plants whose growth is decided by five dice, thrown once at every node of the stem.

    nothing        the stem grows on            three        a twig with a leaf
    pair           a leaf                       full house   a twig with a flower
    two pairs      a leaf on either side        four         a twig on either side
    straight       a long shoot                 five         a large flower on the stem

The sum of the dice bends the stem; the commonest face is the colour of the flowers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from zeuxis.patterns.dice import HANDS, kind
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
MOST, LEAN = 40, 50  # degrees: of the stem from upright, and of a twig from the stem
TWIG = 0.11  # its length
_TURNS = [math.radians(t) for t in range(-180, 181)]
_SIN = torch.tensor([math.sin(t) for t in _TURNS])  # tables, because vectorised sines differ in their last bit
_COS = torch.tensor([math.cos(t) for t in _TURNS])


class PlantCanvas:
    """Pictures that are painted over, ``(B, 3, H, W)`` in [0, 1]."""

    def __init__(self, image: Tensor) -> None:
        self.image, size = image, image.shape[-1]
        at = torch.arange(size, device=image.device) + 0.5
        self.x, self.y = at[None, None, :], at[None, :, None]
        self.size = size

    def over(self, distance: Tensor, colour: Tensor) -> None:
        """Paint ``colour`` (B, 3) where the signed ``distance`` (B, H, W), in pixels, is below 0."""
        cover = (0.5 - distance).clamp_(0, 1)[:, None]
        self.image.add_((colour.to(self.image.device)[:, :, None, None] - self.image).mul_(cover))

    def line(self, start: Tensor, end: Tensor, half: float, colour: Tensor) -> None:
        """A line with round ends from ``start`` to ``end`` (B, 2) in the unit square, ``half`` thick either way."""
        far = segment(self.x, self.y, start * self.size, end * self.size).sqrt_()
        self.over(far - half * self.size, colour)

    def disc(self, centre: Tensor, radius: float, colour: Tensor) -> None:
        dx = self.x - centre[:, 0, None, None] * self.size
        dy = self.y - centre[:, 1, None, None] * self.size
        self.over((dx.square() + dy.square()).sqrt_() - radius * self.size, colour)

    def leaf(self, foot: Tensor, degrees: Tensor) -> None:
        """An ellipse that grows from ``foot`` in a direction."""
        long, wide = 0.055 * self.size, 0.022 * self.size
        centre = (foot + 0.05 * _way(degrees)) * self.size
        dx, dy = self.x - centre[:, 0, None, None], self.y - centre[:, 1, None, None]
        sin, cos = (t.to(degrees.device)[degrees + 180][:, None, None] for t in (_SIN, _COS))
        along, across = (dx * sin - dy * cos) / long, (dx * cos + dy * sin) / wide
        self.over(((along.square() + across.square()).sqrt_() - 1) * wide, _rgb(GREEN, len(foot)))

    def flower(self, at: Tensor, radius: float, colour: Tensor) -> None:
        """Five petals about a heart."""
        for k in range(5):
            turn = torch.full((len(at),), -144 + 72 * k, device=at.device)
            self.disc(at + 0.6 * radius * _way(turn), 0.48 * radius, colour)
        self.disc(at, 0.35 * radius, _rgb(HEART, len(at)))


def grow(dice: Tensor, size: int) -> Tensor:
    """Pictures ``(B, 3, size, size)`` in [-1, 1] of the plants that throws ``(B, nodes, 5)`` make."""
    b, nodes, _ = dice.shape
    kinds, counts = kind(dice), torch.nn.functional.one_hot(dice, 6).sum(2)  # (B, nodes), (B, nodes, 6)
    petals = PETALS.to(dice.device)[counts.argmax(2)]  # (B, nodes, 3)
    image = _ground(b, size).to(dice.device)
    reach = (GROUND - 0.12) / nodes  # of a node, so that the tallest plants stay inside
    at = torch.tensor([0.5, GROUND], device=dice.device).expand(b, 2)
    heading = torch.zeros(b, dtype=torch.int64, device=dice.device)
    canvas = PlantCanvas(image)
    for k in range(nodes):
        is_a = {name: kinds[:, k] == index for index, name in enumerate(HANDS)}
        heading = (heading + 2 * dice[:, k].sum(1) - 25).clamp(-MOST, MOST)  # 25 is twice the mean
        tip = at + (reach * torch.where(is_a["straight"], 1.0, 0.72))[:, None] * _way(heading)
        canvas.line(at, tip, 0.012 * (1.6 - k / nodes), _rgb(STEM, b))
        near = 1 if k % 2 else -1  # leaves and twigs come on alternate sides, or on both
        for hand in (near, -near):
            aside = heading + hand * LEAN
            end = tip + TWIG * _way(aside)
            pairs, four = is_a["two pairs"], is_a["four"]
            twigs = four if hand != near else four | is_a["three"] | is_a["full house"]
            leaves = pairs if hand != near else pairs | is_a["pair"]
            for rows, part in _some(image, twigs):
                part.line(tip[rows], end[rows], 0.008, _rgb(STEM, len(rows)))
            for rows, part in _some(image, leaves):
                part.leaf(tip[rows], aside[rows])
            for rows, part in _some(image, twigs & ~is_a["full house"]):
                part.leaf(end[rows], aside[rows])
            for rows, part in _some(image, is_a["full house"] & (hand == near)):
                part.flower(end[rows], 0.045, petals[rows, k])
        for rows, part in _some(image, is_a["five"]):
            part.flower(tip[rows], 0.075, petals[rows, k])
        at = tip
    canvas.flower(at, 0.055, petals[:, -1])  # every plant ends in one
    return image.mul(255).round_().mul_(2 / 255).sub_(1)


def _some(image: Tensor, there: Tensor) -> Iterator[tuple[Tensor, PlantCanvas]]:
    """The pictures where ``there`` (B,), if any, as a canvas of their own that is put back once it is painted."""
    rows = there.nonzero()[:, 0]
    if len(rows):
        part = PlantCanvas(image[rows])
        yield rows, part
        image[rows] = part.image


def _ground(b: int, size: int) -> Tensor:
    y = (torch.arange(size, device="cpu") + 0.5)[:, None] / size  # (H, 1)
    sky = _rgb(SKY_TOP, 1)[..., None, None] * (1 - y) + _rgb(SKY_FOOT, 1)[..., None, None] * y  # (1, 3, H, 1)
    soil = ((y - GROUND) * size + 0.5).clamp(0, 1)
    back = sky + soil * (_rgb(SOIL, 1)[..., None, None] - sky)
    return back.repeat(b, 1, 1, size)


def _rgb(colour: tuple[float, float, float], b: int) -> Tensor:
    return torch.tensor(colour, device="cpu").expand(b, 3)


def _way(degrees: Tensor) -> Tensor:
    """The unit vector ``(B, 2)`` of headings (B,) int64; 0 is up."""
    return torch.stack([_SIN.to(degrees.device)[degrees + 180], -_COS.to(degrees.device)[degrees + 180]], 1)
