"""Five dice: the eight kinds of a throw, and how often each comes, exactly."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import torch
from torch import Tensor

HANDS = ("nothing", "pair", "two pairs", "three", "straight", "full house", "four", "five")
DICE, FACES = 5, 6


def kind(dice: Tensor) -> Tensor:
    """The kind of each throw ``(..., 5)`` of faces 0 to 5, as an index into ``HANDS``: ``(...)`` int64.

    A straight is five faces in a row.
    """
    counts = torch.nn.functional.one_hot(dice, FACES).sum(-2)  # (..., 6)
    most = counts.amax(-1)
    pairs = (counts == 2).sum(-1)
    row = (most == 1) & ((counts[..., 0] == 0) | (counts[..., 5] == 0))
    found = pairs.clone()  # nothing, pair, two pairs
    for name, when in (
        ("three", (most == 3) & (pairs == 0)),
        ("full house", (most == 3) & (pairs == 1)),
        ("four", most == 4),
        ("five", most == 5),
        ("straight", row),
    ):
        found = torch.where(when, HANDS.index(name), found)
    return found


@cache
def chances() -> tuple[Fraction, ...]:
    """The probability of each kind, counted over all 7,776 throws."""
    throws = torch.cartesian_prod(*[torch.arange(FACES)] * DICE)
    counts = torch.bincount(kind(throws), minlength=len(HANDS))
    return tuple(Fraction(int(n), len(throws)) for n in counts)


def chi_square(counts: Tensor) -> float:
    """The probability of counts ``(8,)`` at least this far from the expected ones, if the dice are fair."""
    expected = counts.sum() * torch.tensor([float(p) for p in chances()], dtype=torch.float64)
    statistic = ((counts - expected) ** 2 / expected).sum()
    freedom = torch.tensor((len(HANDS) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, statistic / 2))
