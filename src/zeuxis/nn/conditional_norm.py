"""Batch normalisation whose gains and biases are made of a condition, for each picture its own.

Dumoulin, Shlens and Kudlur 2016 (1610.07629) and de Vries et al. 2017 (1707.00683).

Axes: Y numbers of the condition's vector.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

Maps = Callable[[int, int], nn.Linear]  # (Y, C) -> what maps a vector (B, Y) to (B, C)


class ConditionalBatchNorm2d(nn.Module):
    """Maps ``(B, C, H, W)`` and a vector ``(B, Y)``: normalised, times 1 + a gain, plus a bias.

    Of a vector of no numbers it is the ordinary one, with weights of its own.
    """

    def __init__(self, channels: int, y_width: int, maps: Maps) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=not y_width)
        self.gain = maps(y_width, channels) if y_width else None
        self.bias = maps(y_width, channels) if y_width else None

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = self.norm(x)
        if self.gain is None or self.bias is None:
            return x
        return x * (1 + self.gain(y))[:, :, None, None] + self.bias(y)[:, :, None, None]
