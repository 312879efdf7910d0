"""Euclidean distances between large sets, a block of rows at a time, so that memory stays bounded.

Products are in float32, which is fast and rounds; whatever hangs on a comparison is computed again from the differences
themselves, in float64: so a copy lies at distance 0 exactly, and equal distances are equal.

Axes: Q queries, N rows that are searched, D features, b rows of a block, k neighbours, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

BLOCK = 1024  # rows of each side held at once
SPARE = 5  # neighbours more than asked for that are looked at exactly: float32 may have put them in another order
ROUNDING = 4e-6  # of the squared lengths: what float32 may be wrong by in a squared distance
PAIRS = 2**22  # numbers of a block of exact differences


def blocks(x: Tensor, size: int = BLOCK) -> Iterator[tuple[int, Tensor]]:
    """``(first row, rows)`` of ``x``, flattened to float32 ``(b, D)`` one block at a time."""
    for start in range(0, len(x), size):
        yield start, x[start : start + size].flatten(1).float()


def squares(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances ``(B, N)`` between rows of ``x (B, D)`` and ``y (N, D)``, and by how much they may be wrong."""
    length_x, length_y = x.square().sum(1)[:, None], y.square().sum(1)[None]
    total = length_x + length_y
    return torch.addmm(total, x, y.T, alpha=-2).clamp_(min=0), total.mul_(ROUNDING)


def exact(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances ``(P,)`` of the pairs of rows ``x (P, D)`` and ``y (P, D)``, from their differences."""
    return (x.double() - y.double()).square().sum(1)


def exact_pairs(x: Tensor, y: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Squared distances ``(P,)`` of the pairs ``x[rows]``, ``y[columns]``, some at a time."""
    size = max(1, PAIRS // max(1, x.shape[1]))
    parts = [exact(x[r], y[c]) for r, c in zip(rows.split(size), columns.split(size), strict=True)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64, device=x.device)


def nearest(query: Tensor, bank: Tensor, k: int, *, skip_self: bool = False) -> tuple[Tensor, Tensor]:
    """The distances (float64) and the indices, both ``(Q, k)``, of the ``k`` nearest rows of ``bank``, nearest first.

    ``skip_self`` says that ``query`` is ``bank``, and that a row is no neighbour of itself.
    """
    squared, where = nearest_squared(query, blocks(bank), k, len(bank), skip_self=skip_self)
    return squared.sqrt(), where


def nearest_squared(
    query: Tensor, bank: Iterable[tuple[int, Tensor]], k: int, size: int, *, skip_self: bool = False
) -> tuple[Tensor, Tensor]:
    """:func:`nearest` with squared distances, in a bank of ``size`` rows that comes as :func:`blocks` gives them."""
    query = query.flatten(1).float()
    centre = query.mean(0)  # distances do not change, and products round less
    look = min(k + SPARE, size)
    best = torch.full((len(query), look), torch.inf, dtype=torch.float64, device=query.device)  # squared
    where = torch.full(best.shape, -1, dtype=torch.int64, device=query.device)
    for b0, b in bank:
        middle = b - centre
        for q0, q in blocks(query):
            rows = slice(q0, q0 + len(q))
            d, error = squares(q - centre, middle)
            if skip_self:
                first, last = max(q0, b0), min(q0 + len(q), b0 + len(b))
                own = torch.arange(first, max(first, last), device=q.device)  # none where the blocks do not overlap
                d[own - q0, own - b0] = torch.inf
            some, order = d.topk(min(look, len(b)), largest=False)
            may = some.isfinite() & (some - error.gather(1, order) <= best[rows, -1:])
            r, c = may.nonzero(as_tuple=True)
            precise = torch.full(some.shape, torch.inf, dtype=torch.float64, device=q.device)
            precise[r, c] = exact_pairs(q, b, r, order[r, c])
            indices = torch.cat([where[rows], order + b0], 1)
            best[rows], chosen = torch.cat([best[rows], precise], 1).topk(look, largest=False)
            where[rows] = indices.gather(1, chosen)
    order = best.argsort(dim=1, stable=True)[:, :k]
    return best.gather(1, order), where.gather(1, order)
