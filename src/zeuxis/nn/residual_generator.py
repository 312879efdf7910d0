"""A translator's generator that adds what it makes to what it is given (Kupyn et al. 2018, 1711.07064, figure 3)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad

from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.resnet_generator import ResNetGenerator

STEP = 4  # the sides are halved twice
LEAST = 2 * STEP  # pixels a side, so that there is more than a point to mirror and to normalise where it is coarsest


class ResidualGenerator(PictureNetwork):
    """Pictures ``(B, C, H, W)`` in [0, 1] to pictures of the same size in [0, 1].

    It normalises whole pictures, or tiles, each by itself.
    """

    def __init__(self, channels: int, *, ngf: int = 64, blocks: int = 9) -> None:
        super().__init__()
        self.channels, self.scale, self.floats, self.step = channels, 1, 6 * ngf, STEP
        self.reach = 8 * (blocks + 2)
        self.layers = ResNetGenerator(channels, channels, ngf=ngf, blocks=blocks)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        down, across = (max(LEAST, side + -side % STEP) - side for side in (height, width))
        filled = 2 * pad(x, (0, across, 0, down), mode="replicate") - 1
        made = (filled + self.layers(filled)).clamp(-1, 1)
        return (made[:, :, :height, :width] + 1) / 2
