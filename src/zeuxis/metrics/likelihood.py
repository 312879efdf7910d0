"""Nats and bits per dimension.

A density model's log-probability of 8-bit pixels is that of its density times the volume of a grey level: see
``zeuxis.distributions.dequantise``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zeuxis.distributions.dequantise import LEVEL


def bits_per_dim(log_prob: Tensor, dims: int, level: float = LEVEL) -> Tensor:
    """Bits per dimension ``(B,)`` of log-likelihoods in nats ``(B,)`` over ``dims`` = C x H x W values.

    ``level`` is the width of a grey level in the units of the density. Give 1 when ``log_prob`` is of
    the integers already (an autoregressive model over 256 values), so that there is nothing to add.
    """
    return -(log_prob / dims + math.log(level)) / math.log(2)


def bits_without_padding(bits: float, dims: int, data: int) -> float:
    """What ``bits`` a value over ``dims`` values are over the ``data`` values that are no padding: an upper bound.

    A picture's probability without its border is at least that with it, so all its bits are laid on the data.
    """
    return bits * dims / data


def nats(bits: Tensor | float, dims: int, level: float = LEVEL) -> Tensor:
    """The log-likelihood in nats that ``bits`` per dimension stand for: the inverse of :func:`bits_per_dim`."""
    return -dims * (torch.as_tensor(bits) * math.log(2) + math.log(level))
