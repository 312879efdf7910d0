"""Growth: which resolution is trained when, and what pictures are in between two.

Karras, Aila, Laine and Lehtinen 2017 (1710.10196), section 2 and figure 2, with the schedule of the authors' program. A
level counts resolutions from 4 pixels up: 0 is 4, 1 is 8; between two whole ones the finer is faded in.

Axes: S side of the finest pictures, s of those at hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from zeuxis.batch import Shape
from zeuxis.errors import UsageError
from zeuxis.nn.dcgan import SMALLEST
from zeuxis.nn.stylegan2 import sides

RATES: Mapping[int, float] = {**dict.fromkeys((4, 8, 16, 32, 64), 1.0), 128: 1.5, 256: 2.0}  # by pictures' side
LAST_RATE = 3.0  # of those that are larger


@dataclass(frozen=True)
class Growth:
    """When which level is reached: equal times for each from ``start`` to ``top``, within a ``share`` of the budget.

    A level stays as it is for half of its time; in the other half the next is faded in.
    """

    start: int
    top: int
    share: float

    @classmethod
    def of(cls, shape: Shape, start: int, share: float) -> Growth:
        """From pictures of ``start`` pixels to those of ``shape``. :class:`UsageError` unless there is a way."""
        known = sides(shape)
        if start not in known:
            raise UsageError(
                f"start = {start}: pictures of {shape.height} pixels begin at one of {', '.join(map(str, known))}"
            )
        if not 0 <= share <= 1:
            raise UsageError(f"grow = {share}: it is a share of the budget, from 0 to 1")
        return cls(known.index(start), len(known) - 1, share)

    def level(self, progress: float) -> float:
        """The level at a progress in [0, 1]; where its fraction is not 0, that of the next which is faded in."""
        steps = self.top - self.start
        if not steps or progress >= self.share:
            return float(self.top)
        whole, part = divmod(progress / self.share * steps, 1.0)
        return min(float(self.top), self.start + whole + max(0.0, 2 * part - 1))

    def rate(self, progress: float) -> float:
        """By what the learning rate is multiplied: fine pictures learn faster, from many processors' large batches."""
        return RATES.get(SMALLEST << math.ceil(self.level(progress)), LAST_RATE)


def finest(level: float) -> tuple[int, float]:
    """The whole level that pictures have, and how much of it there is of what it adds, in (0, 1]."""
    top = math.ceil(level)
    return top, 1.0 - (top - level)


def seen_at(image: Tensor, level: float) -> Tensor:
    """Pictures ``(B, C, S, S)`` as they are at a level, ``(B, C, s, s)``: while it fades in, the details do so too."""
    top, share = finest(level)
    image = avg_pool2d(image, image.shape[-1] // (SMALLEST << top))
    return image if share == 1 else doubled(avg_pool2d(image, 2)).lerp(image, share)


def brought_to(image: Tensor, side: int) -> Tensor:
    """Pictures ``(B, C, s, s)`` with each pixel repeated to ``(B, C, S, S)``."""
    return image if image.shape[-1] == side else interpolate(image, scale_factor=side // image.shape[-1])


def doubled(image: Tensor) -> Tensor:
    """Pictures ``(B, C, s, s)`` with each pixel repeated once along both axes."""
    return interpolate(image, scale_factor=2)
