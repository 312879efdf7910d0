"""Self-attention between the places of a map, as two adversarial networks share it.

Zhang, Goodfellow, Metaxas and Odena 2018, "Self-attention generative adversarial networks" (1805.08318), section 3,
with the layers of the authors' program: keys and values are pooled, values have half the channels. Symbols -> code:
    f -> theta    g -> phi    h -> g    v -> o    beta -> weights    gamma -> gamma

Axes: N places, M = N / 4 of the pooled map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from zeuxis.nn.spectral import SpectralConv2d


class NonLocal(nn.Module):
    """``(B, C, H, W)`` to the same: x + gamma o, where gamma begins at 0 (Eq. 3). H and W are even."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, half = max(1, channels // 8), max(1, channels // 2)
        self.theta = SpectralConv2d(channels, narrow, 1, bias=False)
        self.phi = SpectralConv2d(channels, narrow, 1, bias=False)
        self.g = SpectralConv2d(channels, half, 1, bias=False)
        self.o = SpectralConv2d(half, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.theta(x).flatten(2)  # (B, C / 8, N)
        key = max_pool2d(self.phi(x), 2).flatten(2)  # (B, C / 8, M)
        value = max_pool2d(self.g(x), 2).flatten(2)  # (B, C / 2, M)
        weights = (query.transpose(1, 2) @ key).softmax(2)  # (B, N, M); of each place, their sum is 1 (Eq. 1)
        found = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])  # (B, C / 2, H, W)
        return x + self.gamma * self.o(found)
