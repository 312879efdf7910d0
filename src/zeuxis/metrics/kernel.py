"""The kernel distance between two sets of features: an unbiased squared maximum mean discrepancy.

Binkowski et al. 2018, "Demystifying MMD GANs", arXiv:1801.01401, section 4: the cubic kernel
``k(x, y) = (x . y / D + 1)^3``. Unlike the Fréchet distance it has no bias at small counts.

Axes: N, M and m rows of sets, D features, S subsets, b rows of a block.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.errors import UsageError
from zeuxis.metrics.checks import of_one_network
from zeuxis.metrics.distance import blocks
from zeuxis.rng import Stream

LEAST = 4  # pictures a side below which half of them is no set


@dataclass(frozen=True)
class KernelDistance:
    """The mean over subsets (it may fall below 0 when the sets agree), its deviation, and the subsets' size.

    ``spread`` is None where there is one subset only, the whole of both sets.
    """

    value: float
    spread: float | None
    subset: int


def kernel(a: Tensor, b: Tensor, rng: Stream, subsets: int = 100, subset: int = 1000) -> KernelDistance:
    """The mean of ``subsets`` estimates, each from ``subset`` rows of ``(N, D)`` and ``(M, D)``. Lower is nearer.

    A subset is at most half of the smaller set, or all subsets would be much the same and their deviation would say
    nothing; the size used is returned. Of sets below 4 rows the whole is one subset.
    """
    of_one_network(a, b)
    least = min(len(a), len(b))
    if least < 2:
        raise UsageError("the kernel distance needs 2 images on either side: give more")
    if least < LEAST:
        return KernelDistance(float(mmd2(a[:least], b[:least])), None, least)
    m = min(subset, least // 2)
    in_a, in_b = _indicators(len(a), m, subsets, rng, a.device), _indicators(len(b), m, subsets, rng, b.device)
    scores = (_within(a, in_a) + _within(b, in_b)) / (m * (m - 1)) - 2 * _between(a, b, in_a, in_b) / m**2  # (S,)
    return KernelDistance(float(scores.mean()), float(scores.std(correction=0)), m)


def mmd2(a: Tensor, b: Tensor) -> Tensor:
    """The unbiased estimate from equally many rows ``(m, D)``: the diagonals of k(a, a) and k(b, b) are left out."""
    m, all_of = len(a), torch.ones(len(a), 1, dtype=torch.float64, device=a.device)
    within = _within(a, all_of) + _within(b, all_of)
    return (within / (m * (m - 1)) - 2 * _between(a, b, all_of, all_of) / m**2).squeeze()


def _indicators(n: int, m: int, subsets: int, rng: Stream, device: torch.device) -> Tensor:
    """``(n, S)``: 1 where a row is in a subset of ``m``, else 0. Sums over subsets are then products with it."""
    chosen = torch.zeros(n, subsets, dtype=torch.float64)
    for s in range(subsets):
        chosen[rng.permutation(n)[:m], s] = 1
    return chosen.to(device)


def _within(x: Tensor, chosen: Tensor) -> Tensor:
    """The sum ``(S,)`` of k over all pairs of different rows in each subset, every kernel value computed once."""
    total = torch.zeros(chosen.shape[1], dtype=torch.float64, device=x.device)
    for i, rows in blocks(x):
        of_i = slice(i, i + len(rows))
        for j, columns in blocks(x[: i + len(rows)]):
            values = _cubic(rows, columns)
            if i == j:
                total -= values.diagonal() @ chosen[of_i]
            pairs = ((values @ chosen[j : j + len(columns)]) * chosen[of_i]).sum(0)
            total += pairs if i == j else 2 * pairs
    return total


def _between(a: Tensor, b: Tensor, in_a: Tensor, in_b: Tensor) -> Tensor:
    """The sum ``(S,)`` of k over all pairs of a subset's rows of ``a`` and its rows of ``b``."""
    total = torch.zeros(in_a.shape[1], dtype=torch.float64, device=a.device)
    for i, rows in blocks(a):
        for j, columns in blocks(b):
            total += ((_cubic(rows, columns) @ in_b[j : j + len(columns)]) * in_a[i : i + len(rows)]).sum(0)
    return total


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    """k ``(b, b)`` in float64, of products in float32: what those round is random, and is averaged over m^2 pairs."""
    values = (x @ y.T).double().div_(x.shape[1]).add_(1)
    return values * values * values
