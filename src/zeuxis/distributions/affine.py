"""Invertible maps that learn nothing, or whose parameters somebody else has found."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import solve_triangular


@dataclass(frozen=True, slots=True)
class Flatten:
    """``(B, *shape)`` to ``(B, d)``."""

    shape: tuple[int, ...]

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        return y.unflatten(1, self.shape)


@dataclass(frozen=True, slots=True)
class Divide:
    """``(B, d)`` divided by ``scale`` > 0."""

    scale: float

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x / self.scale, x.new_full((len(x),), -x.shape[1] * math.log(self.scale))

    def inverse(self, y: Tensor) -> Tensor:
        return y * self.scale


@dataclass(frozen=True, slots=True)
class Reverse:
    """``(B, d)``, the last number first."""

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flip(1), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        return y.flip(1)


@dataclass(frozen=True, slots=True)
class Whiten:
    """z = L^-1 (x - mu) of ``(B, d)``: ``mean`` (d,) and ``factor`` (d, d) lower triangular, of positive diagonal.

    Computed in the dtype of ``factor``, which should be float64: solves lose too much in float32.
    """

    mean: Tensor
    factor: Tensor

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        centred = x.to(self.factor) - self.mean
        z = solve_triangular(self.factor, centred.T, upper=False).T  # (B, d)
        return z, -self.factor.diagonal().log().sum().expand(len(z))

    def inverse(self, y: Tensor) -> Tensor:
        return self.mean + y.to(self.factor) @ self.factor.T


def pack(factor: Tensor) -> Tensor:
    """The lower triangle of ``(d, d)``, row by row: ``(d (d + 1) / 2,)``."""
    rows, columns = torch.tril_indices(*factor.shape, device=factor.device)
    return factor[rows, columns]


def unpack(packed: Tensor, d: int) -> Tensor:
    """The inverse of :func:`pack`: lower triangular ``(d, d)``, in float64, since solves lose too much in float32."""
    rows, columns = torch.tril_indices(d, d, device=packed.device)
    factor = packed.new_zeros(d, d, dtype=torch.float64)
    factor[rows, columns] = packed.double()
    return factor
