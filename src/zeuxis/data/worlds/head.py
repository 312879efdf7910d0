"""The anatomy of the phantoms: what a subject's head holds in one axial slice, before any pixel.

Lengths are shares of the picture's side at the head's full size, x to the right and y down from the head's centre;
the face looks up. Shapes within the brain are capsules (segments with round ends) in coordinates folded along the
midline, so that they come in pairs. ``LEVELS`` says where they lie in each of the four slices; a slice in between is
interpolated. Angles are in turns, clockwise from the face.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.data.worlds.exact import cosine, sine

FACTORS: dict[str, tuple[str, ...]] = {
    "slice": ("low", "nuclei", "ventricles", "top"),
    "atrophy": ("none", "mild", "marked"),
    "lesion": ("none", "left", "right"),
}
"""What each value of each factor means; left and right are the picture's."""

LESIONS = 0.6  # the share of subjects that have one: it reaches from its own slice into those above and below
SULCI = 28  # furrows of the brain's outline
PAIRS = ("front horn", "back horn", "third ventricle", "caudate", "lentiform", "thalamus")
VENTRICLES, NUCLEI = slice(0, 3), slice(3, 6)  # of PAIRS

# x, y of one end, x, y of the other, radius; where a radius is negative there is nothing.
LEVELS = torch.tensor(
    [
        [
            (0.024, -0.105, 0.030, -0.080, 0.009),
            (0.115, 0.110, 0.120, 0.130, -0.012),
            (0.000, -0.030, 0.000, 0.030, 0.0045),
            (0.056, -0.095, 0.052, -0.075, 0.014),
            (0.090, -0.075, 0.122, 0.015, 0.024),
            (0.024, 0.030, 0.034, 0.055, 0.022),
        ],
        [
            (0.036, -0.128, 0.017, -0.062, 0.012),
            (0.066, 0.112, 0.086, 0.172, 0.013),
            (0.000, -0.020, 0.000, 0.050, 0.0040),
            (0.060, -0.115, 0.047, -0.070, 0.018),
            (0.096, -0.068, 0.128, 0.040, 0.025),
            (0.034, 0.020, 0.056, 0.072, 0.032),
        ],
        [
            (0.042, -0.130, 0.021, -0.030, 0.014),
            (0.021, -0.030, 0.060, 0.135, 0.016),
            (0.000, -0.020, 0.000, 0.050, -0.020),
            (0.066, -0.100, 0.060, 0.020, 0.009),
            (0.105, -0.040, 0.120, 0.020, -0.008),
            (0.050, 0.040, 0.056, 0.070, -0.010),
        ],
        [
            (0.032, -0.080, 0.028, -0.020, -0.040),
            (0.028, -0.020, 0.045, 0.060, -0.040),
            (0.000, -0.020, 0.000, 0.050, -0.040),
            (0.066, -0.080, 0.060, 0.000, -0.040),
            (0.105, -0.040, 0.120, 0.020, -0.040),
            (0.050, 0.040, 0.056, 0.070, -0.040),
        ],
    ]
)  # (4, 6, 5)
# The head's size; where the fissure between the halves ends in front and begins behind; how deep the furrows go, as a
# share of the way to the middle: at most, and at least at the brain's sides.
OUTLINES = torch.tensor(
    [
        (0.97, -0.16, 0.13, 0.34, 0.40),
        (1.00, -0.19, 0.21, 0.34, 0.42),
        (0.97, -0.18, 0.21, 0.36, 0.20),
        (0.84, 0.03, -0.03, 0.42, 0.00),
    ]
)
GROWTH = torch.tensor([0.011, 0.012, 0.007])  # of the ventricles' radii under the most atrophy


@dataclass(frozen=True)
class Head:
    """B slices through heads: all that the anatomy of a picture depends on but its size. ``(B,)`` unless it says so."""

    factors: Tensor  # (B, 3) int64, of FACTORS
    scale: Tensor
    x: Tensor  # the centre's, from the picture's
    y: Tensor
    cos: Tensor  # of the head's turn
    sin: Tensor
    outer: Tensor  # (B, 2): half-axes of the skin
    inner: Tensor  # (B, 2): of the skull's inside
    egg: Tensor  # how much wider the back is
    scalp: Tensor  # the scalp's share of what lies between skin and the skull's inside
    gap: Tensor  # of fluid between skull and brain
    cortex: Tensor  # the thickness of grey matter
    furrow: Tensor  # half the width of a furrow at its foot
    flare: Tensor  # by how much it widens outwards
    tips: Tensor  # (B, 2, SULCI): where the furrows end
    ways: Tensor  # (B, 2, SULCI): unit vectors from there outwards
    curves: Tensor  # (B, SULCI): how far a furrow swerves, over the square of the way outwards
    fissure: Tensor  # (B, 2): where the one between the halves ends in front, and begins behind
    pairs: Tensor  # (B, 6, 5): the capsules of PAIRS
    uneven: Tensor  # (B, 2): the share of their radii on the left and on the right
    lesion: Tensor  # (B, 5): a capsule, not folded
    coarse: Tensor  # (B, 2, 5): waves that bend all of it: see Draw.waves
    fine: Tensor  # (B, 3, 5): waves that bend the brain


class Draw:
    """Uniform numbers ``u`` (B, N), dealt out one after the other."""

    def __init__(self, u: Tensor) -> None:
        self.u, self.dealt = u, 0

    def between(self, low: float, high: float, *shape: int) -> Tensor:
        """``(B, *shape)`` in [low, high)."""
        n = 1
        for side in shape:
            n *= side
        part = self.u[:, self.dealt : self.dealt + n]
        if part.shape[1] != n:
            raise ValueError(f"{self.dealt + n} numbers are asked for, {self.u.shape[1]} were drawn")
        self.dealt += n
        return (low + (high - low) * part).view(len(self.u), *shape)

    def waves(self, n: int, slow: float, fast: float, high: float) -> Tensor:
        """``n`` plane waves ``(B, n, 5)``: cycles a side along x and y, phase in turns, displacement along x and y."""
        heading, along = self.between(0, 1, n), self.between(0, 1, n)
        rate, height = self.between(slow, fast, n), self.between(0.5 * high, high, n)
        wave = (rate * cosine(heading), rate * sine(heading), self.between(0, 1, n), height * cosine(along))
        return torch.stack([*wave, height * sine(along)], 2)


def _between_levels(table: Tensor, z: Tensor) -> Tensor:
    """Rows of ``table`` (4, ...) at heights ``z`` (B,) in [0, 3], interpolated."""
    table = table.to(z.device)
    below = z.floor().clamp(max=len(table) - 2)
    share = (z - below).view(-1, *[1] * (table.ndim - 1))
    low, high = table[below.long()], table[below.long() + 1]
    return low + share * (high - low)


OWN, SLICE = 21, 141  # uniform numbers that a subject takes, and that a slice of one takes besides


def head(level: Tensor, own: Tensor, u: Tensor) -> Head:
    """The slice ``level`` (B,) int64, of subjects drawn with ``own`` (B, OWN), with ``u`` (B, SLICE) for itself."""
    subject, draw = Draw(own), Draw(u)
    kind = subject.between(0, 3).long()  # of atrophy; within a value it varies, but never into another's range
    atrophy = 0.4 * kind.float() + subject.between(0, 0.2)
    z = (level.float() + draw.between(-0.2, 0.2)).clamp(0, 3)
    size, front, back, deep, side = _between_levels(OUTLINES, z).unbind(1)

    outer = torch.stack([subject.between(0.350, 0.380), subject.between(0.435, 0.460)], 1)
    inner = outer - torch.stack([subject.between(0.046, 0.056), subject.between(0.050, 0.062)], 1)
    half = draw.between(-0.05, 0.05)  # the tangent of half the turn
    tips, ways = _furrows(draw, inner, deep, side)
    where, lesion = _lesion(subject, level, atrophy)
    pairs = _between_levels(LEVELS, z).clone()
    growth = atrophy[:, None] * GROWTH.to(u.device)
    pairs[:, VENTRICLES, 4] += growth
    pairs[:, 0:2, 0::2] += growth[:, 0:2, None]  # they stay apart: a thin wall divides them
    pairs[:, 3, 0::2] += 0.012 * atrophy[:, None]  # the caudate gives way
    return Head(
        torch.stack([level, kind, where], 1),
        scale=size * subject.between(0.95, 1.03),
        x=draw.between(-0.012, 0.012),
        y=draw.between(-0.012, 0.012),
        cos=(1 - half * half) / (1 + half * half),
        sin=2 * half / (1 + half * half),
        outer=outer,
        inner=inner,
        egg=subject.between(0.05, 0.12),
        scalp=subject.between(0.40, 0.55),
        gap=0.006 + 0.018 * atrophy + subject.between(0, 0.003),
        cortex=subject.between(0.0165, 0.0195) - 0.002 * atrophy,
        furrow=0.0015 + 0.004 * atrophy,
        flare=0.02 + 0.06 * atrophy,
        tips=tips,
        ways=ways,
        curves=draw.between(-2.5, 2.5, SULCI),
        fissure=torch.stack([front, back], 1),
        pairs=pairs,
        uneven=subject.between(0.88, 1.12, 2),
        lesion=lesion,
        coarse=draw.waves(2, 0.8, 1.8, 0.012),
        fine=draw.waves(3, 2.5, 6.0, 0.008),
    )


def _furrows(draw: Draw, inner: Tensor, most: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
    """Tips and directions ``(B, 2, SULCI)`` of furrows up to ``most`` (B,) deep, and at least ``side`` at the sides."""
    steps = torch.arange(SULCI, device=inner.device)
    angle = (steps + 0.5 + draw.between(-0.3, 0.3, SULCI)) / SULCI  # (B, SULCI)
    lean = draw.between(-0.4, 0.4, SULCI) / SULCI
    deep = 0.10 + (most[:, None] - 0.10) * draw.between(0, 1, SULCI)
    for k in (SULCI // 4 - 1, 3 * SULCI // 4):  # mirror images of each other
        deep[:, k] = torch.maximum(deep[:, k], side)
    a, b = inner[:, 0:1], inner[:, 1:2]
    x, y = a * sine(angle), -b * cosine(angle)
    at = angle + lean
    tip_x, tip_y = (1 - deep) * a * sine(at), -(1 - deep) * b * cosine(at)
    x, y = x - tip_x, y - tip_y
    length = (x * x + y * y).sqrt()
    return torch.stack([tip_x, tip_y], 1), torch.stack([x / length, y / length], 1)


def _lesion(subject: Draw, level: Tensor, atrophy: Tensor) -> tuple[Tensor, Tensor]:
    """The factor's value ``(B,)`` and the capsule ``(B, 5)``, of a negative radius where there is none."""
    has, left = subject.between(0, 1) < LESIONS, subject.between(0, 1) < 0.5
    away = (level - subject.between(0, len(LEVELS)).long()).abs()  # slices from its middle
    shown = has & (away <= 1)
    x = (subject.between(0.115, 0.14) + 0.02 * atrophy) * torch.where(left, -1.0, 1.0)  # beside the ventricles
    y = subject.between(0.09, 0.15) * torch.where(subject.between(0, 1) < 0.5, -1.0, 1.0)
    radius = subject.between(0.026, 0.040) * torch.where(away == 0, 1.0, 0.75)
    length = subject.between(0.0, 0.035)
    capsule = torch.stack([x, y, x, y + length, torch.where(shown, radius, -1.0)], 1)
    return torch.where(shown, torch.where(left, 1, 2), 0), capsule
