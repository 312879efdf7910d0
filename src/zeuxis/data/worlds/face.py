"""A drawn face before it is painted: its factors, the person, and the look of one picture.

Lengths are shares of the picture's side, x to the right and y down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FACTORS: dict[str, tuple[str, ...]] = {
    "age": ("young", "grown", "old"),
    "smile": ("sad", "calm", "smiling"),
    "pose": ("left", "ahead", "right"),
    "hair_colour": ("black", "brown", "blond", "red", "grey"),
    "hair_style": ("bald", "short", "long", "curly"),
    "glasses": ("no", "yes"),
    "beard": ("no", "yes"),
    "hat": ("no", "yes"),
    "skin": ("pale", "tan", "brown", "dark"),
    "light": ("left", "front", "right"),
}
"""What each value of each factor means."""

PROPORTIONS = 8  # numbers that make a person: see Person
JITTER = 12  # numbers that differ from picture to picture of one person: see Look


@dataclass(frozen=True)
class Face:
    """B faces, placed: all that a picture depends on but its size. Each tensor is ``(B,)`` unless it says otherwise."""

    factors: Tensor  # (B, 10) int64
    # the person
    width: Tensor  # half the head's
    height: Tensor
    jaw: Tensor  # how much the head narrows below
    eyes: Tensor  # half the distance between them
    eye: Tensor  # the size of one
    nose: Tensor
    mouth: Tensor  # half its width
    brow: Tensor  # above the eyes
    # the look
    turn: Tensor  # -1 to 1: to the left, to the right
    curve: Tensor  # of the mouth
    light: Tensor  # -1 to 1: from the left, from the right
    years: Tensor  # 0 to 1
    x: Tensor  # the head's centre
    y: Tensor
    back: Tensor  # (B, 3): the background
    shirt: Tensor  # (B, 3)
    cap: Tensor  # (B, 3)
    iris: Tensor  # (B, 3)

    def value(self, factor: str) -> Tensor:
        """The values of one factor, ``(B,)`` int64."""
        return self.factors[:, list(FACTORS).index(factor)]

    def rows(self, part: slice) -> Face:
        """Some of the faces."""
        return Face(**{name: getattr(self, name)[part] for name in self.__dataclass_fields__})


def face(factors: Tensor, person: Tensor, look: Tensor) -> Face:
    """Faces of ``factors`` (B, 10), from uniform numbers ``person`` (B, 8) and ``look`` (B, 12).

    Within a value of a factor the look varies, but never into the range of another value.
    """
    named = {name: factors[:, k] for k, name in enumerate(FACTORS)}
    centred = 2 * look - 1

    def ordered(name: str, jitter: int) -> Tensor:
        """-1, 0 or 1 and up to a quarter either way."""
        return (named[name] - 1).float() + 0.25 * centred[:, jitter]

    years = (ordered("age", 0) + 1.25) / 2.5
    young = (1 - 2.2 * years).clamp(min=0)
    between: Callable[[float, float, int], Tensor] = lambda low, high, k: low + (high - low) * person[:, k]  # noqa: E731
    return Face(
        factors,
        width=between(0.215, 0.265, 0) * (1 + 0.04 * young),
        height=between(0.285, 0.325, 1) * (1 - 0.06 * young),
        jaw=between(0.12, 0.38, 2) * (1 - 0.5 * young),
        eyes=between(0.085, 0.112, 3),
        eye=between(0.030, 0.040, 4) * (1 + 0.3 * young),
        nose=between(0.075, 0.12, 5) * (1 - 0.4 * young),
        mouth=between(0.065, 0.105, 6),
        brow=between(0.055, 0.080, 7),
        turn=ordered("pose", 1),
        curve=ordered("smile", 2),
        light=ordered("light", 3),
        years=years,
        x=0.5 + 0.015 * centred[:, 4],
        y=0.53 + 0.015 * centred[:, 5],
        back=_hue(look[:, 6], 0.25, 0.86),
        shirt=_hue(look[:, 7], 0.6, 0.55 + 0.3 * look[:, 8]),
        cap=_hue(look[:, 9], 0.65, 0.45 + 0.35 * look[:, 10]),
        iris=_hue(0.08 + 0.55 * look[:, 11], 0.6, 0.45),
    )


def _hue(hue: Tensor, saturation: float, value: float | Tensor) -> Tensor:
    """Red, green and blue ``(B, 3)`` in [0, 1] of hues in [0, 1]."""
    wheel = (hue[:, None] * 6 + torch.tensor([5.0, 3.0, 1.0], device=hue.device)).remainder(6)
    strength = 1 - saturation * torch.minimum(wheel, 4 - wheel).clamp(0, 1)
    return strength * (value[:, None] if isinstance(value, Tensor) else value)
