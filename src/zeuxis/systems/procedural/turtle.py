"""A turtle whose heading turns left or right at random at every step: the simplest noise-to-image sampler."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.knobs import Sampling
from zeuxis.patterns.turtle import drawn, fitted, heading_moments, headings, path
from zeuxis.rng import ImageRng, Rng
from zeuxis.systems.procedural._family import Generator
from zeuxis.verbs import Proof


class Turtle(Generator):
    """Dark trails on white paper.

    Args:
        steps: that the turtle takes.
        angle: degrees that it turns at each.
        right: probability that it turns right and not left.
        pen: width of the trail, as a share of the shorter side.
    """

    card = Card(
        "turtle",
        title="Turtle with Bernoulli turns",
        family="procedural",
        year=1980,
        paper="Papert 1980, Mindstorms",
        learns=False,
    )

    stride = 1  # of any size

    def __init__(
        self, shape: Shape, *, steps: int = 150, angle: float = 20.0, right: float = 0.5, pen: float = 0.025
    ) -> None:
        super().__init__()
        if steps < 1 or not 0 <= right <= 1:
            raise UsageError(f"turtle: steps {steps}, right {right}: at least 1, and in [0, 1]")
        self.shape = Shape(*shape)
        self.steps, self.angle, self.right, self.pen = steps, math.radians(angle), right, pen

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        channels, height, width = self.shape
        way = path(headings(rng.uniform(len(rng), self.steps), self.angle, self.right))
        cover = drawn(fitted(way, size=(height, width)), (height, width), self.pen * min(height, width))
        return (1 - 1.8 * cover)[:, None].expand(-1, channels, -1, -1).contiguous()

    def proofs(self) -> Mapping[str, Proof]:
        return {"heading-deviation": Proof("lower", self._deviation)}

    def _deviation(self, samples: int, rng: Rng) -> float:
        """How far the last headings' mean and variance lie from the closed form, in standard errors, the larger."""
        last = headings(rng.uniform(samples, self.steps), self.angle, self.right)[:, -1].double()
        mean, variance = heading_moments(self.steps, self.angle, self.right)
        of_mean = abs(float(last.mean()) - mean) / math.sqrt(variance / samples)
        # The variance of a sample variance of nearly normal values.
        of_variance = abs(float(last.var()) - variance) / (variance * math.sqrt(2 / (samples - 1)))
        return max(of_mean, of_variance)
