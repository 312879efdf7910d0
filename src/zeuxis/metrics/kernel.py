"""The kernel distance between two sets of features: an unbiased squared maximum mean discrepancy.

Binkowski et al. 2018, "Demystifying MMD GANs", arXiv:1801.01401, section 4: the cubic kernel
``k(x, y) = (x . y / D + 1)^3``. Unlike the Fréchet distance it has no bias at small counts.

Axes: N, M and m rows of sets, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.errors import UsageError
from zeuxis.rng import Stream


@dataclass(frozen=True)
class KernelDistance:
    """The mean over subsets (it may fall below 0 when the sets agree), its deviation, and the subsets' size."""

    value: float
    spread: float
    subset: int


def kernel(a: Tensor, b: Tensor, rng: Stream, subsets: int = 100, subset: int = 1000) -> KernelDistance:
    """The mean of ``subsets`` estimates, each from ``subset`` rows of ``(N, D)`` and ``(M, D)``. Lower is nearer.

    A set with fewer rows than ``subset`` lowers the subset's size to its own; the size used is returned.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise UsageError(f"features {tuple(a.shape)} and {tuple(b.shape)}: use one feature network for both")
    m = min(subset, len(a), len(b))
    if m < 2:
        raise UsageError("the kernel distance needs 2 images on either side: give more")
    scores = torch.stack([mmd2(_pick(a, m, rng), _pick(b, m, rng)) for _ in range(subsets)])
    return KernelDistance(float(scores.mean()), float(scores.std(correction=0)), m)


def mmd2(a: Tensor, b: Tensor) -> Tensor:
    """The unbiased estimate from equally many rows ``(m, D)``: the diagonals of k(a, a) and k(b, b) are left out."""
    a, b = a.double(), b.double()
    m = len(a)
    aa, bb, ab = (_cubic(x, y) for x, y in ((a, a), (b, b), (a, b)))
    within = aa.sum() - aa.diagonal().sum() + bb.sum() - bb.diagonal().sum()
    return within / (m * (m - 1)) - 2 * ab.mean()


def _pick(x: Tensor, m: int, rng: Stream) -> Tensor:
    return x[rng.permutation(len(x))[:m].to(x.device)]


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3
