"""Perlin noise (Perlin 1985, doi:10.1145/325165.325247; improved 2002, doi:10.1145/566654.566636)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.counter import mix
from zeuxis.errors import UsageError
from zeuxis.knobs import Sampling
from zeuxis.patterns.perlin import fractal, noise, spectral_slope
from zeuxis.rng import ImageRng, Rng
from zeuxis.systems.procedural._family import Generator
from zeuxis.verbs import Proof

PROVED_SIZE = 256  # pixels a side, for the spectrum
CONTRAST = 1.8  # fractal sums seldom come near their bounds


class Perlin(Generator):
    """Fractal sums of gradient noise, as grey clouds.

    Args:
        cells: of the coarsest lattice, along the shorter side; they are square, or with ``tile`` nearly.
        octaves: layers, each twice as fine as the last.
        gain: strength of each layer over the last, in (0, 1].
        tile: whether the left edge goes on from the right one, and the top from the bottom.
    """

    card = Card(
        "perlin",
        title="Perlin noise",
        family="procedural",
        year=1985,
        paper="Perlin 1985, doi:10.1145/325165.325247",
        learns=False,
        departures=(
            "In the plane the gradients are 256 directions, not the 12 edges of a cube.",
            "The lattice is hashed by SplitMix64, not by a table of 256 entries, so it never repeats unless asked to.",
        ),
    )

    stride = 1  # of any size

    def __init__(
        self, shape: Shape, *, cells: int = 4, octaves: int = 5, gain: float = 0.5, tile: bool = False
    ) -> None:
        super().__init__()
        if cells < 1 or octaves < 1 or not 0 < gain <= 1:
            raise UsageError(
                f"perlin: cells {cells}, octaves {octaves}, gain {gain}: at least 1, at least 1, in (0, 1]"
            )
        self.shape = Shape(*shape)
        self.cells, self.octaves, self.gain, self.tile = cells, octaves, gain, tile

    def clouds(self, seed: Tensor, height: int, width: int) -> Tensor:
        """``(B, height, width)`` in [-1, 1] for seeds ``(B,)``."""
        short = min(height, width)
        cells = [self.cells * n / short for n in (height, width)]
        whole = [round(side) for side in cells]  # what repeats must have whole cells
        axes = [
            (torch.arange(n) + 0.5) * (side / n)
            for n, side in zip((height, width), whole if self.tile else cells, strict=True)
        ]
        return fractal(seed, axes, self.octaves, self.gain, whole if self.tile else None)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        seed = rng.integers(2**62, len(rng))
        clouds = self.clouds(seed, self.shape.height, self.shape.width)[:, None] * CONTRAST
        return clouds.clamp(-1, 1).expand(-1, self.shape.channels, -1, -1).contiguous()

    def proofs(self) -> Mapping[str, Proof]:
        return {
            "lattice-value": Proof("lower", self._lattice_value),
            "spectrum-slope-error": Proof("lower", self._slope_error),
        }

    def _lattice_value(self, samples: int, rng: Rng) -> float:
        """The largest absolute value at lattice points, in the plane and in space, where all should be zero."""
        seed = rng.integers(2**62, samples)
        whole = torch.arange(-2.0, 6.0)
        return max(float(noise(seed, [whole] * n).abs().max()) for n in (2, 3))

    def _slope_error(self, samples: int, rng: Rng) -> float:
        """How far the slope of the measured power spectrum lies from the stated one."""
        octaves = int(math.log2(PROVED_SIZE / self.cells)) - 1
        axis = (torch.arange(PROVED_SIZE) + 0.5) * (self.cells / PROVED_SIZE)
        clouds = fractal(mix(rng.integers(2**62, samples)), [axis, axis], octaves, self.gain)
        power = torch.fft.rfft2(clouds * _window(PROVED_SIZE)).abs().square().mean(0)
        along, across = (
            torch.fft.fftfreq(PROVED_SIZE, 1 / PROVED_SIZE),
            torch.fft.rfftfreq(PROVED_SIZE, 1 / PROVED_SIZE),
        )
        frequency = (along[:, None] ** 2 + across**2).sqrt()
        # Whole octaves within the band: within one, the power is not a power law.
        edges = [self.cells * 2.0**k for k in range(1, octaves)]
        bands = [(frequency >= a) & (frequency < b) for a, b in itertools.pairwise(edges)]
        logs = torch.stack([power[band].mean().log2() for band in bands])
        steps = torch.arange(len(logs), dtype=logs.dtype)
        fitted = ((steps - steps.mean()) * (logs - logs.mean())).sum() / (steps - steps.mean()).square().sum()
        return abs(float(fitted) - spectral_slope(self.gain))


def _window(n: int) -> Tensor:
    """Hann's, so that the picture's edges add no power of their own."""
    one = torch.hann_window(n)
    return one[:, None] * one
