"""The Fréchet distance between two sets of features, each taken for a Gaussian.

Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash
equilibrium", arXiv:1706.08500, Eq. 6; Dowson and Landau 1982 for the closed form.

Axes: N pictures, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.errors import UsageError
from zeuxis.metrics.distance import BLOCK


@dataclass(frozen=True)
class Moments:
    """What the distance needs of a set: its size, mean ``(D,)`` and covariance ``(D, D)``, in float64."""

    count: int
    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """The moments of features ``(N, D)``, N >= 2; the covariance divides by N - 1."""
        if features.ndim != 2 or len(features) < 2:
            raise UsageError(f"moments need features (N, D) with N >= 2, not {tuple(features.shape)}: give more images")
        n, dims = features.shape
        mean = torch.zeros(dims, dtype=torch.float64, device=features.device)
        for part in features.split(BLOCK):  # two passes, so that float64 is held for a block of rows only
            mean += part.double().sum(0) / n
        scatter = torch.zeros(dims, dims, dtype=torch.float64, device=features.device)
        for part in features.split(BLOCK):
            centred = part.double() - mean
            scatter += centred.T @ centred
        return cls(n, mean, scatter / (n - 1))


def frechet(a: Tensor | Moments, b: Tensor | Moments) -> float:
    """``|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))`` of features ``(N, D)`` or their moments. Lower is nearer.

    Any rank is right: fewer samples than dimensions leave the covariances singular, and the square
    root of a product of singular matrices is where the usual iteration fails. Here the last trace is
    the sum of the singular values of ``S_a^(1/2) S_b^(1/2)``, which needs no inverse and no iteration.
    """
    a, b = (x if isinstance(x, Moments) else Moments.of(x) for x in (a, b))
    if a.mean.shape != b.mean.shape:
        raise UsageError(f"features of {len(a.mean)} and {len(b.mean)} dimensions: use one feature network for both")
    cross = torch.linalg.svdvals(_root(a.covariance) @ _root(b.covariance)).sum()
    spread = a.covariance.trace() + b.covariance.trace() - 2 * cross
    return float((a.mean - b.mean).square().sum() + spread)


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root; eigenvalues within rounding error of zero are taken for zero."""
    values, vectors = torch.linalg.eigh(covariance)
    floor = values.amax().clamp(min=0) * len(values) * torch.finfo(values.dtype).eps
    return (vectors * torch.where(values > floor, values, 0.0).sqrt()) @ vectors.T
