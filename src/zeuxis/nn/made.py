"""A perceptron whose output i depends only on the inputs before i (Germain et al. 2015, "MADE", arXiv:1502.03509).

Every hidden unit has a degree m: it depends on the inputs 1..m, and outputs of numbers above m depend on it (Eq. 8
and 9). Degrees cycle through 1..d-1, the same in every layer.

Axes: d inputs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MaskedLinear(nn.Linear):
    """A linear layer some of whose weights are masked; ``mask`` is ``(outputs, inputs)`` of 0 and 1."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class MADE(nn.Module):
    """``(B, d)`` to ``outputs`` numbers for each of the d: ``(B, outputs, d)``, the i-th functions of x_1..x_{i-1}.

    The last layer begins at zero.
    """

    def __init__(self, d: int, outputs: int, *, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.outputs = outputs
        below = torch.arange(1, d + 1)  # degrees of the layer below; of the inputs, their own numbers
        layers: list[nn.Module] = []
        for width in widths:
            degrees = torch.arange(width) % max(1, d - 1) + 1
            layers += [MaskedLinear(degrees[:, None] >= below), nn.SiLU()]  # Eq. 8
            below = degrees
        last = MaskedLinear((torch.arange(1, d + 1)[:, None] > below).repeat(outputs, 1))  # Eq. 9
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out.unflatten(1, (self.outputs, -1))
