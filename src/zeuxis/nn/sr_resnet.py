"""SRResNet as it is used today: residual blocks without norms, beside the picture enlarged bilinearly.

Ledig et al. 2017, "Photo-realistic single image super-resolution" (1609.04802), section 3.1; without batch norm after
Lim et al. 2017 (EDSR, 1707.02921). Count with 64 channels, 16 blocks, by 4: 1,517,571 parameters.

Three quarters of what six blocks of 48 channels compute by 4 (1.02 million multiplications a pixel that is given) lies
behind the enlargements. Without these, as Shi et al. 2016 have it (ESPCN, 1609.05158), twelve blocks of 64 have 0.91.
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


def body(width: int, blocks: int) -> nn.Sequential:
    """``blocks`` residuals: ``(B, C, H, W)`` to the same."""
    return nn.Sequential(*(PlainBlock(width) for _ in range(blocks)))


def bilinear(x: Tensor, scale: int) -> Tensor:
    """``(B, C, H, W)`` to ``(B, C, scale H, scale W)``."""
    return interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)


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
        self.body = body(width, blocks)
        self.ups = nn.ModuleList(conv(width, width * step**2) for step in steps)
        self.fine = conv(width, width)
        self.last = conv(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(leaky_relu(self.first(x), SLOPE))
        for up, step in zip(self.ups, self.steps, strict=True):
            h = leaky_relu(pixel_shuffle(up(h), step), SLOPE)
        out: Tensor = self.last(leaky_relu(self.fine(h), SLOPE))
        return out + bilinear(x, self.scale)


class SubPixelSRResNet(PictureNetwork):
    """The same without enlargements of its features: one convolution makes all numbers of the large picture.

    Args:
        channels: of the pictures.
        blocks: residuals.
        width: channels within.
        scale: how many times as large a picture becomes.
    """

    def __init__(self, channels: int = 3, *, blocks: int = 16, width: int = 64, scale: int = 4) -> None:
        super().__init__()
        self.channels, self.scale = channels, scale
        self.reach, self.floats = 3 + 2 * blocks, 4 * width + 3 * channels * scale**2
        self.first = conv(channels, width)
        self.body = body(width, blocks)
        self.last = conv(width, channels * scale**2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(leaky_relu(self.first(x), SLOPE))
        out: Tensor = pixel_shuffle(self.last(h), self.scale)
        return out + bilinear(x, self.scale)
