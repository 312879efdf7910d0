"""The Fréchet distance between two sets of features, each taken for a Gaussian.

Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash
equilibrium", arXiv:1706.08500, Eq. 6; Dowson and Landau 1982 for the closed form.

Axes: N pictures, D features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from zeuxis.errors import UsageError
from zeuxis.metrics.checks import finite

ROWS = 512  # of features that are taken at a time: with their products they fit a processor's cache
SMALL = 64  # columns of a product that is not worth halving


@dataclass(frozen=True)
class Moments:
    """What the distance needs of a set: its size, mean ``(D,)`` and covariance ``(D, D)``, in float64."""

    count: int
    mean: Tensor
    covariance: Tensor
    known_root: Tensor | None = field(default=None, compare=False, repr=False)  # of the covariance, where it was kept

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """The moments of features ``(N, D)``, N >= 2; the covariance divides by N - 1."""
        if features.ndim != 2 or len(features) < 2:
            raise UsageError(f"moments need features (N, D) with N >= 2, not {tuple(features.shape)}: give more images")
        features = features if features.is_floating_point() else features.double()
        finite("features", features)
        n, dims = features.shape
        near = features.mean(0).double()  # the mean as the features' own precision has it
        total = torch.zeros_like(near)
        scatter = near.new_zeros(dims, dims)
        block = near.new_empty(min(n, ROWS), dims)  # float64 is held for these rows only
        for part in features.split(ROWS):
            x = block[: len(part)].copy_(part).sub_(near)
            total += x.sum(0)
            _add_gram(scatter, x)
        off = total / n  # what near lacks: so little that correcting for it cancels no digits
        scatter.addr_(off, off, alpha=-n)
        lower = scatter.tril(-1)
        return cls(n, near + off, (lower + lower.T + scatter.diagonal().diag()) / (n - 1))

    @cached_property
    def root(self) -> Tensor:
        """The symmetric square root of the covariance; eigenvalues within rounding of zero are taken for zero."""
        if self.known_root is not None:
            return self.known_root
        values, vectors = torch.linalg.eigh(self.covariance)
        return (vectors * _positive(values).sqrt()) @ vectors.T


def frechet(a: Tensor | Moments, b: Tensor | Moments) -> float:
    """``|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))`` of features ``(N, D)`` or their moments. Lower is nearer.

    Any rank is right: fewer samples than dimensions leave the covariances singular, and the square root of a product
    of singular matrices is where the usual iteration fails. Here the last trace is that of the root of the symmetric
    ``R S_a R`` with ``R = S_b^(1/2)``, the sum of the roots of its eigenvalues: no inverse, no iteration, and one root,
    which is that of ``b`` and is kept with its moments. Of few features no covariance is made: see :func:`_of_few`.
    """
    if isinstance(a, Tensor) and isinstance(b, Tensor) and _few(a, b):
        return _of_few(a, b)
    a, b = (x if isinstance(x, Moments) else Moments.of(x) for x in (a, b))
    if a.mean.shape != b.mean.shape:
        raise UsageError(f"features of {len(a.mean)} and {len(b.mean)} dimensions: use one feature network for both")
    product = b.root @ a.covariance @ b.root
    cross = _positive(torch.linalg.eigvalsh((product + product.T) / 2)).sqrt().sum()
    spread = a.covariance.trace() + b.covariance.trace() - 2 * cross
    return max(0.0, float((a.mean - b.mean).square().sum() + spread))  # of equal sets rounding may leave less


def _few(a: Tensor, b: Tensor) -> bool:
    """Whether two sets of features are fewer than their dimensions."""
    return a.ndim == b.ndim == 2 and a.shape[1] == b.shape[1] > len(a) + len(b) and min(len(a), len(b)) >= 2


def _of_few(a: Tensor, b: Tensor) -> float:
    """The same of fewer features than dimensions.

    With rows about their mean A and B, over the roots of N - 1, S_a S_b = A^T A B^T B has the eigenvalues of
    (A B^T)^T A B^T, so the trace of its root is the sum of the singular values of the small matrix A B^T.
    """
    means, about = [], []
    for features in (a, b):
        finite("features", features)
        means.append(features.double().mean(0))
        about.append((features.double() - means[-1]) / (len(features) - 1) ** 0.5)
    cross = torch.linalg.svdvals(about[0] @ about[1].T).sum()
    spread = about[0].square().sum() + about[1].square().sum() - 2 * cross
    return max(0.0, float((means[0] - means[1]).square().sum() + spread))  # of equal sets rounding may leave less


def _positive(values: Tensor) -> Tensor:
    """Eigenvalues with those within rounding error of zero at zero."""
    floor = values.amax().clamp(min=0) * len(values) * torch.finfo(values.dtype).eps
    return torch.where(values > floor, values, 0.0)


def _add_gram(total: Tensor, x: Tensor) -> None:
    """Add ``x^T x`` (D, D) of ``x`` (N, D) to the lower triangle of ``total``, leaving out most of the upper one."""
    if len(total) <= SMALL:
        total.addmm_(x.T, x)
        return
    half = len(total) // 2
    _add_gram(total[:half, :half], x[:, :half])
    _add_gram(total[half:, half:], x[:, half:])
    total[half:, :half].addmm_(x[:, half:].T, x[:, :half])
