"""Grey levels as real numbers and back: uniform noise within a level, and rounding to the nearest.

Pixels are integers, densities are of real numbers. A density model is trained on ``x + u`` with ``u`` uniform over
one grey level; then, by Jensen's inequality, the mean log-density plus the log of the level's volume is a lower bound
on the log-probability of the integer image (Theis et al. 2016, "A note on the evaluation of generative models",
arXiv:1511.01844, section 3.1).
"""

from __future__ import annotations

from torch import Tensor

from zeuxis.rng import Rng

LEVEL = 2 / 255  # the width of one grey level of 8 bits in [-1, 1]
VARIANCE = LEVEL**2 / 12  # that the noise adds to a pixel


def dequantise(image: Tensor, rng: Rng, level: float = LEVEL) -> Tensor:
    """Images in [-1, 1] spread evenly over their grey levels: within half a ``level`` of where they were."""
    return image + level * (rng.uniform(*image.shape, device=image.device) - 0.5).to(image.dtype)


def quantise(x: Tensor, level: float = LEVEL) -> Tensor:
    """The grey level ``-1 + k level`` nearest to each number: what :func:`dequantise` was given."""
    return ((x + 1) / level).round() * level - 1
