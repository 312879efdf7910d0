"""The nearest training pictures of what a model generated: has it memorised its data?

Axes: Q queries, N training pictures, k neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from zeuxis.errors import UsageError
from zeuxis.metrics.distance import nearest


@dataclass(frozen=True)
class Neighbours:
    """Nearest first: Euclidean ``distance (Q, k)`` and the rows ``index (Q, k)`` of the training set."""

    distance: Tensor
    index: Tensor


def neighbours(query: Tensor, training: Tensor, k: int = 1) -> Neighbours:
    """The ``k`` nearest of ``training (N, ...)`` for each of ``query (Q, ...)``: pictures or features, of one kind."""
    if query.shape[1:] != training.shape[1:]:
        raise UsageError(f"neighbours of {tuple(query.shape[1:])} among {tuple(training.shape[1:])}: shapes must agree")
    if not 1 <= k <= len(training):
        raise UsageError(f"{k} neighbours out of {len(training)} training images: ask for 1 to {len(training)}")
    return Neighbours(*nearest(query, training, k))
