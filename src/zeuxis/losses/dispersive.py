"""A loss that keeps the features of different pictures apart, with nothing that draws any together.

Axes: N pictures, D features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def dispersive(features: Tensor, temperature: float = 0.5) -> Tensor:
    """log E exp(-D / tau) over pairs of pictures (Wang & He 2025, arXiv:2506.09027): a scalar, less the further apart.

    ``features`` (N, D) are of any length; the distance is the mean of their squared differences, so that their number
    does not matter. It is a contrastive loss whose other half is left to the regression beside it.
    """
    apart = torch.pdist(features.float()).square() / features.shape[1]  # of each pair once
    pairs = torch.cat([apart, apart, apart.new_zeros(len(features))])  # all N^2, a picture and itself among them
    return (-pairs / temperature).logsumexp(0) - math.log(len(pairs))
