"""Euclidean distances between large sets, a block of rows at a time, so that memory stays bounded.

Axes: Q queries, N rows that are searched, D features, b rows of a block, k neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 1024  # rows of each side held at once


def blocks(x: Tensor, size: int = BLOCK) -> Iterator[tuple[int, Tensor]]:
    """``(first row, rows)`` of ``x``, flattened to float64 ``(b, D)`` one block at a time."""
    for start in range(0, len(x), size):
        yield start, x[start : start + size].flatten(1).double()


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances ``(B, N)`` between rows of ``x (B, D)`` and ``y (N, D)``, in float64.

    Through a matrix product: in float64 its cancellation costs about 1e-8 of the vectors' length.
    """
    square = x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * x @ y.T
    return square.clamp_(min=0).sqrt_()


def nearest(query: Tensor, bank: Tensor, k: int, *, skip_self: bool = False) -> tuple[Tensor, Tensor]:
    """The distances and the indices, both ``(Q, k)`` and nearest first, of the ``k`` nearest rows of ``bank``.

    ``skip_self`` says that ``query`` is ``bank``, and that a row is no neighbour of itself.
    """
    parts: list[tuple[Tensor, Tensor]] = []
    for q0, q in blocks(query):
        far = torch.full((len(q), k), torch.inf, dtype=q.dtype, device=q.device)
        best, where = far, torch.full(far.shape, -1, dtype=torch.int64, device=q.device)
        for b0, b in blocks(bank):
            d = distances(q, b)
            if skip_self:
                rows = torch.arange(len(q), device=q.device)
                inside = (rows + q0 >= b0) & (rows + q0 < b0 + len(b))
                d[rows[inside], rows[inside] + q0 - b0] = torch.inf
            index = torch.arange(b0, b0 + len(b), device=q.device).expand_as(d)
            best, order = torch.cat([best, d], 1).topk(k, largest=False)
            where = torch.cat([where, index], 1).gather(1, order)
        parts.append((best, where))
    return torch.cat([d for d, _ in parts]), torch.cat([i for _, i in parts])
