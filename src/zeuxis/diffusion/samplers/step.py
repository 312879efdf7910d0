"""What the steps of all samplers are made of.

Legend: x (B, C, H, W); ``now`` and ``after`` are the noise levels, as plain numbers, between which a step goes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor

from zeuxis.diffusion.path import for_each
from zeuxis.rng import Rng
from zeuxis.steps import each_step, showing

Denoise = Callable[[Tensor, Tensor], Tensor]
WHOLE = 1.0  # how much of the change of x0 a second-order correction may carry on


@dataclass(frozen=True, eq=False)
class ByLevel:
    """A denoiser whose ``of`` may also be given one plain number as sigma, the same for all images.

    A sampler gives it that: so little is left of the loop besides the network.
    """

    of: Callable[[Tensor, Any], Tensor]  # of x and sigma, (B,) or a number

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.of(x, sigma)


class Sampler(Protocol):
    """What every sampler is."""

    def __call__(self, denoise: Denoise, x: Tensor, levels: Tensor, rng: Rng) -> Tensor: ...


def steps_of(levels: Tensor) -> Iterator[tuple[float, float]]:
    """The steps of a grid (N + 1,), as pairs of numbers."""
    return each_step(list(pairwise(levels.tolist())))


def of_any_level(denoise: Denoise) -> Callable[[Tensor, Any], Tensor]:
    """``denoise`` for a number or for (B,), as cheaply as it can be asked: for what makes a :class:`ByLevel` of one."""
    return denoise.of if isinstance(denoise, ByLevel) else lambda x, level: denoise(x, for_each(level, x))


def at_level(denoise: Denoise) -> Callable[[Tensor, float], Tensor]:
    """``denoise`` for a number, whose answers are shown to whoever watches."""
    return showing(of_any_level(denoise))


def between(x0: Tensor, x: Tensor, share: float) -> Tensor:
    """``share`` of the way from ``x0`` to ``x``, in the dtype of ``x``."""
    return torch.lerp(x0.to(x.dtype), x, share)


def kept_and_fresh(now: float, after: float, eta: float) -> tuple[float, float]:
    """The deviations of the old noise that a step keeps and of the new noise that it adds: together ``after``.

    ``eta`` 1 is what the noise at ``now`` leaves open about that at ``after``, given x0; ``eta`` 0 adds none (Song et
    al. 2020, arXiv:2010.02502, Eq. 16, in VE space).
    """
    fresh = eta * after * math.sqrt(1 - (after / now) ** 2)
    return math.sqrt(after**2 - fresh**2), fresh
