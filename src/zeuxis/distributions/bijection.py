"""Invertible maps, and chains of them.

A map gives its value and the log-determinant of its Jacobian in one call, since whoever needs the one for a
likelihood needs the other, and has an ``inverse``. Shapes are ``(B, ...)``; each row is mapped by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Bijection(Protocol):
    """An invertible map ``y = f(x)``."""

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y ``(B, ...)`` and log |det dy/dx| ``(B,)``."""
        ...

    def inverse(self, y: Tensor) -> Tensor:
        """x ``(B, ...)``."""
        ...


@dataclass(frozen=True, slots=True)
class Composition:
    """The maps one after another, the first one first."""

    maps: tuple[Bijection, ...]

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The value of the last map ``(B, ...)``, and the sum of all log-determinants ``(B,)``."""
        log_det = x.new_zeros(len(x))
        for f in self.maps:
            x, own = f.forward_and_log_det(x)
            log_det = log_det + own
        return x, log_det

    def inverse(self, y: Tensor) -> Tensor:
        """The inverses, the last map's first."""
        for f in reversed(self.maps):
            y = f.inverse(y)
        return y
