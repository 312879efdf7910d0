"""The networks of Nah, Kim and Lee 2017, "Deep multi-scale CNN for dynamic scene deblurring" (1612.02177).

As in the authors' program in PyTorch. Counts with three scales, 19 blocks, 64 channels, three colours: 11,721,321
parameters; the critic of 256 pixels, 10,725,216.

Axes: K scales, numbered from the finest, 0; h and w sides at a scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, leaky_relu, pad, pixel_shuffle, relu

from zeuxis.errors import UsageError
from zeuxis.nn.picture_network import PictureNetwork

KERNEL = 5
SMOOTH = (0.0066, 0.1942, 0.5984, 0.1942, 0.0066)  # a Gaussian of deviation 2/3, as smooths before a side is halved
SLOPE = 0.2
MIDDLE = 0.5  # of black and white: the networks see pictures less it


def halved(x: Tensor) -> Tensor:
    """The next coarser level of the Gaussian pyramid, ``(B, C, H, W)`` to half the sides, which are even."""
    channels = x.shape[1]
    taps = x.new_tensor(SMOOTH)
    kernel = (taps[:, None] * taps).expand(channels, 1, -1, -1)
    return avg_pool2d(conv2d(pad(x, (2, 2, 2, 2), mode="replicate"), kernel, groups=channels), 2)


def pyramid(x: Tensor, scales: int) -> list[Tensor]:
    """``x`` at K scales, the finest first."""
    found = [x]
    for _ in range(scales - 1):
        found.append(halved(found[-1]))
    return found


class WideBlock(nn.Module):
    """Two 5x5 convolutions around a residual, without norms: ``(B, C, h, w)`` to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(width, width), _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(relu(self.conv1(x)))
        return out


class MultiScaleNet(PictureNetwork):
    """Blurred pictures ``(B, C, H, W)`` in [0, 1] to sharp ones, about in [0, 1]; from coarse to fine.

    Args:
        channels: of the pictures.
        scales: K; each is half as fine as the one before.
        blocks: residual blocks at each scale.
        width: channels within.
    """

    def __init__(self, channels: int = 3, *, scales: int = 3, blocks: int = 19, width: int = 64) -> None:
        super().__init__()
        if scales < 1:
            raise UsageError(f"model.scales is {scales}: there is at least 1")
        self.channels, self.scale, self.scales = channels, 1, scales
        self.reach, self.floats = 2 ** (scales - 1) * 4 * (blocks + 1), 5 * width
        self.step = 2 ** (scales - 1)
        self.bodies = nn.ModuleList(
            nn.Sequential(
                _conv(channels if k == scales - 1 else 2 * channels, width),
                *(WideBlock(width) for _ in range(blocks)),
                _conv(width, channels),
            )
            for k in range(scales)
        )
        self.ups = nn.ModuleList(_conv(channels, 4 * channels) for _ in range(scales - 1))

    def at_scales(self, x: Tensor) -> list[Tensor]:
        """The sharp picture at K scales, the finest first; sides are multiples of 2^(K - 1)."""
        levels = pyramid(x, self.scales)
        made: list[Tensor] = []
        given = levels[-1] - MIDDLE
        for k in reversed(range(self.scales)):
            sharp = self.bodies[k](given)  # (B, C, H / 2^k, W / 2^k)
            made.insert(0, sharp + MIDDLE)
            if k:
                given = torch.cat([levels[k - 1] - MIDDLE, pixel_shuffle(self.ups[k - 1](sharp), 2)], 1)
        return made

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        filled = pad(x, (0, -width % self.step, 0, -height % self.step), mode="replicate")
        return self.at_scales(filled)[0][:, :, :height, :width]


class StridedCritic(nn.Module):
    """Images ``(B, C, H, W)`` to logits ``(B,)``, by 5x5 convolutions of these strides without norms or biases.

    ``width`` / 2 channels in the first two, twice as many with every further two; a convolution of 4x4 makes a point of
    what is left, and so the strides' product is the side / 4.
    """

    def __init__(self, channels: int, *, width: int = 64, strides: Sequence[int] = (1, 2, 1, 2, 1, 4, 1, 4, 1)) -> None:
        super().__init__()
        widths = [channels, *(width // 2 << k // 2 for k in range(len(strides)))]
        self.convs = nn.ModuleList(
            nn.Conv2d(now, to, KERNEL, stride, padding=KERNEL // 2, bias=False)
            for now, to, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.point = nn.Conv2d(widths[-1], widths[-1], 4, bias=False)
        self.head = nn.Conv2d(widths[-1], 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (*self.convs, self.point):
            x = leaky_relu(layer(x), SLOPE)
        logits: Tensor = self.head(x)
        return logits.mean((1, 2, 3))


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, KERNEL, padding=KERNEL // 2)
