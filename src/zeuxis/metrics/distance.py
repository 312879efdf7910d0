"""Euclidean distances between large sets, a block of rows at a time, so that memory stays bounded.

Products are in float32, which is fast and rounds; whatever hangs on a comparison is computed again from differences:
so a copy lies at distance 0 exactly, and the distance of a pair is the same number wherever it is asked for.

Axes: Q queries, N rows that are searched, D features, b rows of a block, k neighbours, P pairs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

BLOCK = 1024  # rows of each side held at once
WIDE = 4 * BLOCK  # rows of a bank that is searched, at once: the fewer blocks, the fewer candidates
SPARE = 3  # neighbours more than asked for that are looked at exactly: float32 may have put them in another order
ROUNDING = 4e-6  # of the squared lengths: what float32 may be wrong by in a squared distance
PAIRS = 2**22  # numbers of a block of exact differences


def blocks(x: Tensor, size: int = BLOCK) -> Iterator[tuple[int, Tensor]]:
    """``(first row, rows)`` of ``x``, flattened to float32 ``(b, D)`` one block at a time."""
    for start in range(0, len(x), size):
        yield start, x[start : start + size].flatten(1).float()


class Centred:
    """Rows of ``x`` (N, D) less ``centre`` (D,), in float32, with their squared lengths: the factors of products.

    Distances are the same without the centre, and products round less.
    """

    def __init__(self, x: Tensor, centre: Tensor) -> None:
        self.x = x.float() - centre
        self.length = self.x.square().sum(1)

    def __getitem__(self, rows: slice) -> Centred:
        part = copy.copy(self)
        part.x, part.length = self.x[rows], self.length[rows]
        return part


def squares(x: Centred, y: Centred) -> tuple[Tensor, float]:
    """Squared distances ``(B, N)`` between rows of ``x`` and ``y``, and by how much they may be wrong.

    They may be a little below 0, by as much.
    """
    error = ROUNDING * float(x.length.amax() + y.length.amax())
    return torch.addmm(y.length, x.x, y.x.T, alpha=-2).add_(x.length[:, None]), error


def exact_pairs(x: Tensor, y: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Squared distances ``(P,)`` of the pairs ``x[rows]``, ``y[columns]``, from their differences, some at a time."""
    size = max(1, PAIRS // max(1, x.shape[1]))
    parts = [
        (x.index_select(0, r) - y.index_select(0, c)).square_().sum(1)
        for r, c in zip(rows.split(size), columns.split(size), strict=True)
    ]
    return torch.cat(parts).double() if parts else torch.zeros(0, dtype=torch.float64, device=x.device)


def nearest(query: Tensor, bank: Tensor, k: int, *, skip_self: bool = False) -> tuple[Tensor, Tensor]:
    """The distances (float64) and the indices, both ``(Q, k)``, of the ``k`` nearest rows of ``bank``, nearest first.

    ``skip_self`` says that ``query`` is ``bank``, and that a row is no neighbour of itself.
    """
    squared, where = nearest_squared(query, blocks(bank, WIDE), k, len(bank), skip_self=skip_self)
    return squared.sqrt(), where


def nearest_squared(
    query: Tensor, bank: Iterable[tuple[int, Tensor]], k: int, size: int, *, skip_self: bool = False
) -> tuple[Tensor, Tensor]:
    """:func:`nearest` with squared distances, in a bank of ``size`` rows that comes as :func:`blocks` gives them."""
    query = query.flatten(1).float()
    centre = query.mean(0)
    centred = Centred(query, centre)
    look = min(k + SPARE, size)
    best = torch.full((len(query), look), torch.inf, dtype=torch.float64, device=query.device)  # squared
    where = torch.full(best.shape, -1, dtype=torch.int64, device=query.device)
    for b0, b in bank:
        searched = Centred(b, centre)
        for q0, q in blocks(query):
            rows = slice(q0, q0 + len(q))
            d, error = squares(centred[rows], searched)
            if skip_self:
                first, last = max(q0, b0), min(q0 + len(q), b0 + len(b))
                own = torch.arange(first, max(first, last), device=q.device)  # none where the blocks do not overlap
                d[own - q0, own - b0] = torch.inf
            some, order = d.topk(min(look, len(b)), largest=False, sorted=False)
            may = some.isfinite() & (some - error <= best[rows].amax(1, keepdim=True))
            r, c = may.nonzero(as_tuple=True)
            precise = torch.full(some.shape, torch.inf, dtype=torch.float64, device=q.device)
            precise[r, c] = exact_pairs(q, b, r, order[r, c])
            indices = torch.cat([where[rows], order + b0], 1)
            best[rows], chosen = torch.cat([best[rows], precise], 1).topk(look, largest=False, sorted=False)
            where[rows] = indices.gather(1, chosen)
    order = best.argsort(dim=1, stable=True)[:, :k]
    return best.gather(1, order), where.gather(1, order)
