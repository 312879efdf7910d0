"""What a rich scene holds: its factors, how they are drawn, and which of them belong to which split.

A scene has a time, a season and a weather, and up to one *main* object in each of four corners. A large main
may have a small *second* object inside it or in front of it. So there are one to five objects, their places
are exact, and any factor can be changed while all else stays where it is.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

TIMES = ("day", "night")
SEASONS = ("spring", "summer", "autumn", "winter")
WEATHERS = ("clear", "cloudy", "rainy", "snowy")
CORNERS = ("upper left", "upper right", "lower left", "lower right")
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "diamond", "moon")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
SIZES = ("small", "large")
TEXTURES = ("plain", "striped", "dotted", "shiny")
PLACES = ("inside", "in front of")  # of the second object, seen from the main one

OF_CORNER: dict[str, tuple[str, ...]] = {
    "shape": ("none", *SHAPES),
    "colour": ("none", *COLOURS),
    "size": ("none", *SIZES),
    "texture": ("none", *TEXTURES),
    "second": ("none", *PLACES),
    "second_shape": ("none", *SHAPES),
    "second_colour": ("none", *COLOURS),
}
"""The factors of a corner, and what each value means."""

VALUES: dict[str, tuple[str, ...]] = {
    "time": TIMES,
    "season": SEASONS,
    "weather": WEATHERS,
    **{f"{name} {corner}": values for corner in CORNERS for name, values in OF_CORNER.items()},
}
FACTORS: tuple[tuple[str, int], ...] = tuple((name, len(values)) for name, values in VALUES.items())
SCENE = 3  # factors before those of the corners
EACH = len(OF_CORNER)
COUNTS = [size for _, size in FACTORS]

MAINS = (0.25, 0.6, 0.85)  # cumulated shares of scenes with one, two, three mains; the rest have four
MOST = 5  # objects
SECOND = 0.5  # of the large mains that may still have one have a second object
HELD_OUT = tuple((5 * shape + 2) % len(COLOURS) for shape in range(len(SHAPES)))
"""For each shape the colour that it never has in training: in the unseen scenes at least one object has it."""
SLOTS = SCENE + 1 + len(CORNERS) * (1 + EACH)  # uniform numbers for a row


def corners(rows: Tensor) -> Tensor:
    """The factors ``(B, 4, EACH)`` of all corners."""
    return rows[:, SCENE:].unflatten(1, (len(CORNERS), EACH))


Pairs = Literal["seen", "unseen", "all"]  # of shape and colour: without the held-out ones, with one of them, any


def draw_factors(u: Tensor, pairs: Pairs = "seen") -> Tensor:
    """Complete rows of factors ``(B, F)`` int64 from uniform numbers ``u`` (B, SLOTS).

    Where ``pairs`` are "seen" no object has its shape's held-out colour, where they are "unseen" the first main
    has, and where they are "all" any may.
    """
    scene = torch.stack([_pick(u[:, k], n) for k, n in enumerate(COUNTS[:SCENE])], 1)
    mains = 1 + (u[:, SCENE : SCENE + 1] >= torch.tensor(MAINS, device=u.device)).sum(1)  # (B,)
    lots = u[:, SCENE + 1 : SCENE + 1 + len(CORNERS)]
    filled = lots.argsort(dim=1, stable=True).argsort(dim=1) < mains[:, None]  # (B, 4)
    left = MOST - mains  # second objects that there is still room for
    held = torch.tensor(HELD_OUT, device=u.device)
    parts = [scene]
    fresh = u[:, SCENE + 1 + len(CORNERS) :].unflatten(1, (len(CORNERS), EACH))
    met = torch.zeros_like(filled[:, 0])
    for k in range(len(CORNERS)):
        v, here = fresh[:, k], filled[:, k]
        shape, size, texture = _pick(v[:, 0], len(SHAPES)), _pick(v[:, 2], len(SIZES)), _pick(v[:, 3], len(TEXTURES))
        apart = torch.full_like(shape, len(COLOURS)) if pairs == "all" else held[shape]  # the colour that it never has
        colour = _other(v[:, 1], len(COLOURS), apart, apart)
        if pairs == "unseen":
            colour = torch.where(met, colour, held[shape])
            met = met | here
        has = here & (size == 1) & (left > 0) & (v[:, 4] < SECOND)
        left = left - has.long()
        place = _pick(v[:, 4] / SECOND, len(PLACES))
        inner = _pick(v[:, 5], len(SHAPES))
        tint = _other(v[:, 6], len(COLOURS), colour if pairs == "all" else held[inner], colour)
        main = (torch.stack([shape, colour, size, texture], 1) + 1) * here[:, None]
        second = (torch.stack([place, inner, tint], 1) + 1) * has[:, None]
        parts += [main, second]
    return torch.cat(parts, 1)


def _pick(u: Tensor, n: int) -> Tensor:
    """An integer in [0, n) for each uniform number."""
    return (u * n).long().clamp(max=n - 1)


def _other(u: Tensor, n: int, a: Tensor, b: Tensor) -> Tensor:
    """An integer in [0, n) that is neither ``a`` nor ``b``, each of those left equally likely; n itself is no loss."""
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    left = n - (low < n).long() - ((low != high) & (high < n)).long()
    k = torch.minimum((u * left).long(), left - 1)
    k = k + (k >= low).long()
    return k + ((k >= high) & (low != high)).long()
