"""DRUNet's network (Zhang et al. 2021, 2008.13751, section IV-A): a U-Net of residual blocks, without norms and biases.

A network without biases is a homogeneous function of what it is given: twice the picture with twice the noise comes out
twice as bright, which is why one network does for many strengths of noise (Mohan et al. 2020, 1906.05478). With
``shrink`` squares of pixels are folded into channels first, as in FFDNet (Zhang et al. 2018, 1710.04026).

Counts of three colours with widths of 64, 128, 256 and 512 and four blocks: 32,640,384 parameters; the authors' has a
map of the noise's strength beside the colours, 576 more.

Axes: s pixels a side that are folded (``shrink``).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_shuffle, pixel_unshuffle

from zeuxis.nn.picture_network import PictureNetwork


class ResidualUNet(PictureNetwork):
    """Damaged pictures ``(B, C, H, W)`` in [0, 1] to whole ones of the same shape, about in [0, 1].

    Sides that do not halve evenly are lengthened by their border.

    Args:
        channels: of the pictures.
        widths: channels at each level, from fine to coarse.
        blocks: residual blocks at each level, on the way down and again on the way up.
        shrink: pixels a side that become channels before the finest level; 1 leaves them.
        residual: whether the layers make what is added to the damaged picture, as in DnCNN (Zhang et al. 2017,
            1608.03981), and not the whole one anew. Still homogeneous.
        masked: whether it is given a mask as one channel more, makes what that hides, and leaves the rest as it is.
    """

    def __init__(
        self,
        channels: int = 3,
        *,
        widths: tuple[int, ...] = (64, 128, 256, 512),
        blocks: int = 4,
        shrink: int = 1,
        residual: bool = False,
        masked: bool = False,
    ) -> None:
        super().__init__()
        self.channels, self.scale, self.shrink = channels, 1, shrink
        self.residual, self.masked = residual, masked
        self.step = shrink * 2 ** (len(widths) - 1)
        self.reach = shrink * sum(2**level * 4 * blocks for level in range(len(widths))) + self.step
        self.floats = -(-6 * widths[0] // shrink**2)
        self.head = _conv((channels + masked) * shrink**2, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(*_blocks(fine, blocks), nn.Conv2d(fine, coarse, 2, stride=2, bias=False))
            for fine, coarse in pairwise(widths)
        )
        self.body = nn.Sequential(*_blocks(widths[-1], blocks))
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(coarse, fine, 2, stride=2, bias=False), *_blocks(fine, blocks))
            for coarse, fine in pairwise(reversed(widths))
        )
        self.tail = _conv(widths[0], channels * shrink**2)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        picture, mask = x[:, : self.channels], x[:, self.channels :]  # (B, C, H, W), (B, 0 or 1, H, W)
        if self.masked:
            picture = picture.masked_fill(mask > 0, 0)  # whatever stands there
        h = pad(torch.cat([picture, mask], 1), (0, -width % self.step, 0, -height % self.step), mode="replicate")
        skips = [self.head(pixel_unshuffle(h, self.shrink))]  # (B, w_0, H / s, W / s)
        for down in self.down:
            skips.append(down(skips[-1]))  # (B, w_i, H / s 2^i, W / s 2^i)
        h = self.body(skips[-1])
        for up, skip in zip(self.up, reversed(skips[1:]), strict=True):
            h = up(h + skip)
        out: Tensor = pixel_shuffle(self.tail(h + skips[0]), self.shrink)
        made = out[:, :, :height, :width]
        if self.residual:
            made = picture + made
        return made.where(mask > 0, x[:, : self.channels]) if self.masked else made


class _Residual(nn.Module):
    """conv, ReLU, conv, around a residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_conv(channels, channels), nn.ReLU(inplace=True), _conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


def _blocks(channels: int, n: int) -> list[nn.Module]:
    return [_Residual(channels) for _ in range(n)]
