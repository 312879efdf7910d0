"""The last frame again: what a prediction of the next one must be better than.

The baseline of Mathieu, Couprie & LeCun 2016 (arXiv:1511.05440), section 3: where little moves it is near the truth.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.card import Card
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng
from zeuxis.systems.translation._family import source_at


class LastFrame(System):
    """Nothing is learnt: the last of the frames that lie one after another in the source's channels."""

    card = Card(
        "last-frame",
        title="The last frame again",
        family="translation",
        year=2016,
        paper="1511.05440",
        needs={"source"},
        learns=False,
    )

    def __init__(self, shape: Shape, *, source_shape: Shape | None = None) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.stride = 1

    def fit(self, batches: Iterable[Batch]) -> None:
        """Nothing is learnt."""

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        return source_at(condition, self.shape, "last-frame")[:, -self.shape.channels :].clamp(-1, 1)
