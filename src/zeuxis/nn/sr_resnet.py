"""SRResNet as it is used today: residual blocks without norms, beside the picture enlarged bilinearly.

Ledig et al. 2017, "Photo-realistic single image super-resolution" (1609.04802), section 3.1; without batch norm after
Lim et al. 2017 (EDSR, 1707.02921). Count with 64 channels, 16 blocks, by 4: 1,517,571 parameters.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, pixel_shuffle, relu

from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.rrdb import conv

SLOPE = 0.1


class PlainBlock(nn.Module):
    """Two convolutions around a residual: ``(B, C, H, W)`` to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(width, width), conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(relu(self.conv1(x)))
        return out


class SRResNetNet(PictureNetwork):
    """Pictures ``(B, C, H, W)`` in [0, 1] to pictures ``(B, C, scale H, scale W)``, about in [0, 1].

    Args:
        channels: of the pictures.
        blocks: residuals.
        width: channels within.
        steps: the factors of its enlargements, one after another: (2, 2) for four times, (2,), (3,).
    """

    def __init__(
        self, channels: int = 3, *, blocks: int = 16, width: int = 64, steps: tuple[int, ...] = (2, 2)
    ) -> None:
        super().__init__()
        self.channels, self.steps, self.scale = channels, tuple(steps), 1
        for step in steps:
            self.scale *= step
        self.reach, self.floats = 5 + 2 * blocks, 4 * width + 3 * width * self.scale**2
        self.first = conv(channels, width)
        self.body = nn.Sequential(*(PlainBlock(width) for _ in range(blocks)))
        self.ups = nn.ModuleList(conv(width, width * step**2) for step in steps)
        self.fine = conv(width, width)
        self.last = conv(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(leaky_relu(self.first(x), SLOPE))
        for up, step in zip(self.ups, self.steps, strict=True):
            h = leaky_relu(pixel_shuffle(up(h), step), SLOPE)
        out: Tensor = self.last(leaky_relu(self.fine(h), SLOPE))
        return out + interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
