"""Small restorers, and turns of them, for tests."""

from __future__ import annotations

from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.catalog.build import build
from zeuxis.game import System, Turn
from zeuxis.rng import Stream
from zeuxis.spec import DataSpec

RRDB = {"blocks": 1, "width": 4, "growth": 4, "critic_width": 4}
UNET = {"kind": "unet", "width": 8, "multiples": (1, 2), "blocks": 1, "attention": ()}


def built(system: str, scale: int = 1, side: int = 16, **model: object) -> System:
    whole = side * scale
    return build(system, DataSpec(Shape(3, whole, whole), source_shape=Shape(3, side, side)), dict(model))


def turn(scale: int = 1, side: int = 16, progress: float = 1.0, mask: Tensor | None = None) -> Turn:
    rng = Stream(0)
    image = rng.uniform(2, 3, side * scale, side * scale) * 2 - 1
    source = rng.uniform(2, 3, side, side) * 2 - 1
    return Turn(Batch(image, Condition(source=source, mask=mask)), Stream(1), 0, progress)
