"""The critic of Real-ESRGAN: a U-Net that judges every pixel, with spectral norm.

Wang et al. 2021, "Real-ESRGAN" (2107.10833), section 3.4, as in the authors' program. Count with 64 channels, of three
colours: 4,376,897 parameters.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from zeuxis.batch import Shape
from zeuxis.errors import UsageError
from zeuxis.nn.spectral import SpectralConv2dUV

SLOPE = 0.2
HALVINGS = 3


class UNetCritic(nn.Module):
    """Images ``(B, C, H, W)`` to a logit for every pixel ``(B, 1, H, W)``; H and W are multiples of 8.

    ``width`` is that of the finest level; it doubles with each of the three below. What the way down saw is added to
    the way up. All convolutions but the first and the last have spectral norm.
    """

    def __init__(self, shape: Shape, *, width: int = 64) -> None:
        super().__init__()
        if any(side % 2**HALVINGS for side in shape[1:]):
            raise UsageError(
                f"the critic halves pictures three times, and {shape.width}x{shape.height} pixels do not come out "
                "even: set size to a multiple of 8"
            )
        widths = [width << level for level in range(HALVINGS + 1)]
        self.first = nn.Conv2d(shape.channels, width, 3, padding=1)
        self.downs = nn.ModuleList(
            SpectralConv2dUV(fine, coarse, 4, stride=2, padding=1, bias=False) for fine, coarse in pairwise(widths)
        )
        self.ups = nn.ModuleList(_conv(coarse, fine) for fine, coarse in reversed([*pairwise(widths)]))
        self.fine = nn.ModuleList(_conv(width, width) for _ in range(2))
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = leaky_relu(self.first(x), SLOPE)
        skips = []
        for down in self.downs:
            skips.append(x)
            x = leaky_relu(down(x), SLOPE)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = leaky_relu(up(x), SLOPE) + skip
        for layer in self.fine:
            x = leaky_relu(layer(x), SLOPE)
        logits: Tensor = self.last(x)
        return logits


def _conv(inputs: int, outputs: int) -> nn.Module:
    return SpectralConv2dUV(inputs, outputs, 3, padding=1, bias=False)
