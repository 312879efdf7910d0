"""Nats, bits per dimension, and what dequantisation adds.

Pixels are integers, densities are of real numbers. A density model is shown ``x + u`` with ``u``
uniform over one grey level; then, by Jensen's inequality, the mean log-density plus the log of the
level's volume is a lower bound on the log-probability of the integer image
(Theis et al. 2016, "A note on the evaluation of generative models", arXiv:1511.01844, section 3.1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zeuxis.rng import Rng

LEVEL = 2 / 255  # the width of one grey level of 8 bits in [-1, 1]


def dequantise(image: Tensor, rng: Rng, level: float = LEVEL) -> Tensor:
    """8-bit images in [-1, 1] spread evenly over their grey levels: within half a ``level`` of where they were."""
    return image + level * (rng.uniform(*image.shape, device=image.device) - 0.5).to(image.dtype)


def bits_per_dim(log_prob: Tensor, dims: int, level: float = LEVEL) -> Tensor:
    """Bits per dimension ``(B,)`` of log-likelihoods in nats ``(B,)`` over ``dims`` = C x H x W values.

    ``level`` is the width of a grey level in the units of the density. Give 1 when ``log_prob`` is of
    the integers already (an autoregressive model over 256 values), so that there is nothing to add.
    """
    return -(log_prob / dims + math.log(level)) / math.log(2)


def nats(bits: Tensor | float, dims: int, level: float = LEVEL) -> Tensor:
    """The log-likelihood in nats that ``bits`` per dimension stand for: the inverse of :func:`bits_per_dim`."""
    return -dims * (torch.as_tensor(bits) * math.log(2) + math.log(level))
