"""Perlin noise beside perlin-numpy, the vectorised implementation that people install, drawing the same numbers.

    pip install perlin-numpy
    python benchmarks/perlin_rate.py [--size 128] [--batch 16] [--turns 20]

perlin-numpy draws one picture at a time, ours a batch; each turn draws as many. First both are checked to give the
same noise from the same vectors.
"""

from __future__ import annotations

import math

import _race
import numpy as np
import torch
from numpy.typing import NDArray
from perlin_numpy import generate_perlin_noise_2d

from zeuxis.patterns.perlin import _lattice, noise

CELLS = 8


class Given:
    """Hands perlin-numpy the angles of our vectors, as shares of a turn."""

    def __init__(self, seed: int) -> None:
        vectors = _lattice(torch.tensor([seed]), [range(CELLS + 1)] * 2, None)[0].double()  # (9, 9, 2)
        self.angles = torch.atan2(vectors[..., 1], vectors[..., 0]).numpy() / (2 * math.pi)

    def uniform(self, size: tuple[int, int]) -> NDArray[np.float64]:
        assert size == self.angles.shape
        return self.angles


def main() -> None:
    given = _race.arguments(__doc__, size=128, batch=16).parse_args()
    torch.set_num_threads(given.threads)
    axis = torch.arange(given.size) * (CELLS / given.size)
    shape, cells = (given.size, given.size), (CELLS, CELLS)
    theirs = torch.from_numpy(generate_perlin_noise_2d(shape, cells, rng=Given(3))).float()
    torch.testing.assert_close(noise(torch.tensor([3]), [axis, axis])[0], theirs, atol=1e-5, rtol=0)
    seeds, rng = torch.arange(given.batch), np.random.default_rng(0)
    seconds = _race.race(
        {
            _race.OURS: lambda: noise(seeds, [axis, axis]),
            "perlin-numpy": lambda: [generate_perlin_noise_2d(shape, cells, rng=rng) for _ in range(given.batch)],
        },
        given.turns,
    )
    what = f"Perlin noise, {given.size}x{given.size}, {CELLS} cells, batch {given.batch}"
    _race.told(_race.compared(what, seconds, given.batch), given)


if __name__ == "__main__":
    main()
