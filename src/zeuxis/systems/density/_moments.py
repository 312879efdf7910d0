"""What every Gaussian model needs: mean and covariance in one pass, in float64."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from zeuxis.batch import Batch, Shape
from zeuxis.errors import DataError, Unsupported

MOST_NUMBERS = 3 * 64 * 64  # a covariance of this many numbers squared takes 1.2 GB in float64


def dimension(shape: Shape) -> int:
    """d = C H W, refused where its d x d covariance would not fit a laptop's memory."""
    d = shape.channels * shape.height * shape.width
    if d > MOST_NUMBERS:
        raise Unsupported(
            f"images of {d} numbers need a covariance of {d} x {d}: "
            f"choose a size with at most {MOST_NUMBERS} numbers, such as 64x64 in colour"
        )
    return d


def moments(batches: Iterable[Batch]) -> tuple[Tensor, Tensor, int]:
    """Mean ``(d,)``, maximum-likelihood covariance ``(d, d)`` and count n of the flattened images, float64.

    Batches are merged pairwise (Chan, Golub & LeVeque 1979), which does not cancel as E[x x'] - m m' does.
    Raises :class:`DataError` for fewer than two images.
    """
    n, mean, scatter = 0, torch.zeros(()), torch.zeros(())
    for batch in batches:
        x = batch.image.detach().double().flatten(1)  # (B, d)
        new = len(x)
        centre = x.mean(0)
        x = x - centre
        if n == 0:
            n, mean, scatter = new, centre, x.T @ x
            continue
        shift = centre - mean
        scatter = scatter.addmm_(x.T, x).addr_(shift, shift, alpha=n * new / (n + new))
        mean = mean + shift * (new / (n + new))
        n += new
    if n < 2:
        raise DataError(f"a covariance cannot be estimated from {n} image(s): give at least 2")
    return mean, scatter / n, n
