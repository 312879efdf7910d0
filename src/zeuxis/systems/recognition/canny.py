"""Canny's edges: what a detector that learns must be better than.

Canny 1986, "A computational approach to edge detection", IEEE TPAMI 8(6). Symbols -> code: sigma -> sigma
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from zeuxis.batch import Batch, Shape
from zeuxis.card import Card
from zeuxis.degrade.canny import canny
from zeuxis.errors import UsageError
from zeuxis.game import System


class Canny(System):
    """Nothing is learnt: smoothing, slopes, non-maximum suppression, hysteresis.

    Its answer is graded: what is found with any high threshold is where the answer reaches it.

    Args:
        sigma: deviation, in pixels, of the Gaussian that smooths first.
        ratio: of the low threshold to the high one.
    """

    card = Card(
        "canny",
        title="Canny's edge detector",
        family="recognition",
        year=1986,
        paper="Canny 1986, doi:10.1109/TPAMI.1986.4767851",
        verbs={"detect_edges"},
        learns=False,
        departures=("Slopes are Sobel's of a smoothed picture, of the colour in which they are largest.",),
    )

    def __init__(self, shape: Shape, *, sigma: float = 1.0, ratio: float = 0.4) -> None:
        super().__init__()
        if sigma <= 0 or not 0 < ratio <= 1:
            raise UsageError(f"canny: sigma {sigma}, ratio {ratio}: above 0, and above 0 and 1 at most")
        self.shape, self.sigma, self.ratio = Shape(*shape), sigma, ratio

    def fit(self, batches: Iterable[Batch]) -> None:
        """Nothing is learnt."""

    def detect_edges(self, image: Tensor) -> Tensor:
        return canny(image, self.sigma, self.ratio)
