"""Densities integrated over the bins of grey levels: probabilities of pixels. The end bins reach to infinity.

Pixels hold one of ``levels`` equally spaced values in [-1, 1]. ``log_prob`` is of each pixel: it is not summed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from torch.special import log_ndtr

LEVELS = 256  # of 8 bits


@dataclass(frozen=True, slots=True)
class DiscretisedLogistic:
    """A logistic of ``mean`` and ``exp(log_scale)`` at every pixel; they broadcast against the pixels.

    Salimans et al. 2017 (arXiv:1701.05517), Eq. 2 for one component.
    """

    mean: Tensor
    log_scale: Tensor
    levels: int = LEVELS

    def log_prob(self, pixels: Tensor) -> Tensor:
        """log P of each pixel, of the broadcast shape.

        For ends a > b, log(sigmoid(a) - sigmoid(b)) = logsigmoid(a) + logsigmoid(-b) + log(1 - exp(b - a)),
        which keeps its gradient far out in the tails where the difference itself underflows.
        """
        half = 1 / (self.levels - 1)  # half a bin
        inverse = (-self.log_scale).exp()
        upper = (pixels - self.mean + half) * inverse
        lower = (pixels - self.mean - half) * inverse
        width = torch.as_tensor(2 * half, dtype=self.mean.dtype, device=self.mean.device) * inverse  # upper - lower
        inside = logsigmoid(upper) + logsigmoid(-lower) + torch.log(-torch.expm1(-width))
        first = pixels < -1 + half
        last = pixels > 1 - half
        return torch.where(first, logsigmoid(upper), torch.where(last, logsigmoid(-lower), inside))


@dataclass(frozen=True, slots=True)
class DiscretisedNormal:
    """N(mean, std^2) at every pixel; they broadcast against the pixels (Ho et al. 2020, arXiv:2006.11239, Eq. 13)."""

    mean: Tensor
    std: Tensor
    levels: int = LEVELS

    def log_prob(self, pixels: Tensor) -> Tensor:
        """log P of each pixel, of the broadcast shape."""
        half = 1 / (self.levels - 1)  # half a bin
        upper = ((pixels + half - self.mean) / self.std).where(pixels < 1 - half, math.inf)
        lower = ((pixels - half - self.mean) / self.std).where(pixels > -1 + half, -math.inf)
        # On the side of the tail where neither is near 1, so that their difference keeps its digits.
        flip = lower > 0
        upper, lower = torch.where(flip, -lower, upper), torch.where(flip, -upper, lower)
        high, low = log_ndtr(upper), log_ndtr(lower)
        return high + torch.log1p(-(low - high).exp())
