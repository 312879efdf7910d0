"""The holistically-nested network: a trunk of convolutions, each stage of which says where the edges are.

Xie & Tu 2015, "Holistically-nested edge detection" (arXiv:1504.06375), figure 4 and section 3.2: VGG-16 (Simonyan &
Zisserman 2014, arXiv:1409.1556) without its last pooling and all that follows. Three colours at the published size:
14,716,171 parameters.

Axes: M stages; h and w sides of a stage's map.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, relu

WIDTHS, DEPTHS = (64, 128, 256, 512, 512), (2, 2, 3, 3, 3)  # of VGG-16


class HolisticNet(nn.Module):
    """Pictures ``(B, C, H, W)`` to M + 1 maps of logits ``(B, 1, H, W)``: of the stages, fine to coarse, and fused.

    Args:
        channels: of the pictures.
        widths: channels of the stages; each but the first sees maps of half the sides.
        depths: convolutions of each stage.
    """

    def __init__(self, channels: int = 3, *, widths: Sequence[int] = WIDTHS, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(wide if k else narrow, wide, 3, padding=1) for k in range(depth))
            for (narrow, wide), depth in zip(pairwise((channels, *widths)), depths, strict=True)
        )
        self.sides = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in widths)
        self.fuse = nn.Conv2d(len(widths), 1, 1)  # h of Eq. 3
        for stage in self.stages:
            for conv in stage.children():
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")  # type: ignore[arg-type]
                nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        for side in self.sides:
            nn.init.normal_(side.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(side.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.fuse.weight, 1 / len(widths))  # section 4.1
        nn.init.zeros_(self.fuse.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> list[Tensor]:
        (height, width), found = image.shape[2:], []
        for k, (stage, side) in enumerate(zip(self.stages, self.sides, strict=True)):
            if k:
                image = max_pool2d(image, 2, ceil_mode=True)
            for conv in stage.children():
                image = relu(conv(image))
            # A number of stage k is of 2^k pixels, also at the far borders, where some of them lie outside.
            whole = interpolate(side(image), scale_factor=2**k, mode="bilinear")
            found.append(whole[:, :, :height, :width])
        return [*found, self.fuse(torch.cat(found, 1))]
