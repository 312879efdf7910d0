"""The networks of Mathieu, Couprie & LeCun 2016 (arXiv:1511.05440): frames predicted from coarse to fine.

Table 1 of the paper, with its widths at ``width`` 128 of the generator and 64 of the critics. From coarse to fine:

    generator    3x3: 128 256 128            5x5, 3x3, 3x3, 5x5: 128 256 128
                 5x5, 4 of 3x3, 5x5: 128 256 512 256 128        7x7, 4 of 5x5, 7x7: 128 256 512 256 128
    critics      3x3: 64, then 512 256       3x3: 64 128 128, then 1024 512
                 5x5: 128 256 256, then 1024 512                7x7, 7x7, 5x5, 5x5: 128 256 512 128, then 1024 512

Axes: T frames given, K scales, numbered from the coarsest, 0; h and w sides at a scale, a and b of a map of logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, relu

SCALES = 4  # of the paper
PATCH = 32  # pixels a side of the pictures that the critics see at once, as the paper trains on
MADE = (  # of the generator at each scale: kernels, and widths over that of the first layer
    ((3, 3, 3, 3), (1, 2, 1)),
    ((5, 3, 3, 5), (1, 2, 1)),
    ((5, 3, 3, 3, 3, 5), (1, 2, 4, 2, 1)),
    ((7, 5, 5, 5, 5, 7), (1, 2, 4, 2, 1)),
)
JUDGED = (  # of the critics: kernels, widths, and those of the layers that see the whole patch, over the narrowest
    ((3,), (1,), (8, 4)),
    ((3, 3, 3), (1, 2, 2), (16, 8)),
    ((5, 5, 5), (2, 4, 4), (16, 8)),
    ((7, 7, 5, 5), (2, 4, 8, 2), (16, 8)),
)


def levels(x: Tensor, scales: int) -> list[Tensor]:
    """``x`` (B, C, H, W) at K scales, the coarsest first: means of 2^(K - 1), ..., 2, 1 pixels a side."""
    return [x if k == 0 else avg_pool2d(x, 2**k) for k in reversed(range(scales))]


class FramePyramid(nn.Module):
    """Frames ``(B, T C, H, W)`` in [-1, 1] to the next one at K scales, the coarsest first, ``(B, C, h, w)``.

    Args:
        given: channels of all the frames given, T C.
        channels: of a frame, C.
        scales: K, up to 4; sides are multiples of 2^(K - 1).
        width: channels of the first layer at every scale.
    """

    def __init__(self, given: int, channels: int, *, scales: int = SCALES, width: int = 128) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            _convs((given + (channels if k else 0), *(width * m for m in times), channels), kernels, same=True)
            for k, (kernels, times) in enumerate(MADE[SCALES - scales :])
        )
        for net in self.nets:
            for conv in [*net.children()][:-1]:  # He et al. 2015, or little of the frames comes through six layers
                assert isinstance(conv, nn.Conv2d) and conv.bias is not None
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                nn.init.zeros_(conv.bias)

    def forward(self, frames: Tensor) -> list[Tensor]:
        made: list[Tensor] = []
        for net, x in zip(self.nets, levels(frames, len(self.nets)), strict=True):
            if not made:
                made.append(_through(net, x).tanh())
                continue
            coarser = interpolate(made[-1], scale_factor=2.0)  # u_k, by the nearest pixel
            made.append((coarser + _through(net, torch.cat([x, coarser], 1))).tanh())  # Eq. 2
        return made


class PatchNet(nn.Module):
    """Frames and the next one ``(B, T C + C, h, w)`` at scale ``k`` of the paper's four to logits ``(B, 1, a, b)``.

    One logit for pictures of 32 pixels a side; of larger ones a map, each logit of a patch of that size.
    """

    def __init__(self, inputs: int, k: int, *, width: int = 64) -> None:
        super().__init__()
        kernels, times, wholes = JUDGED[k]
        self.pooled = k == SCALES - 1
        self.convs = _convs((inputs, *(width * m for m in times)), kernels, same=False)
        side = PATCH // 2 ** (SCALES - 1 - k) - sum(kernel - 1 for kernel in kernels)
        first, second = (width * m for m in wholes)
        self.whole = _convs(
            (width * times[-1], first, second, 1), (side // 2 if self.pooled else side, 1, 1), same=False
        )

    def forward(self, x: Tensor) -> Tensor:
        seen = relu(_through(self.convs, x))
        return _through(self.whole, max_pool2d(seen, 2) if self.pooled else seen)


class PyramidCritic(nn.Module):
    """A critic for each of K scales: frames and the next one at each of them, to as many maps of logits."""

    def __init__(self, given: int, channels: int, *, scales: int = SCALES, width: int = 64) -> None:
        super().__init__()
        self.nets = nn.ModuleList(PatchNet(given + channels, k, width=width) for k in range(SCALES - scales, SCALES))

    def forward(self, frames: Sequence[Tensor], following: Sequence[Tensor]) -> list[Tensor]:
        seen = zip(self.nets, frames, following, strict=True)
        return [net(torch.cat([x, y], 1)) for net, x, y in seen]


def _convs(widths: Sequence[int], kernels: Sequence[int], *, same: bool) -> nn.ModuleList:
    """A convolution from each width to the next, which keeps the sides or not."""
    return nn.ModuleList(
        nn.Conv2d(now, to, kernel, padding=kernel // 2 if same else 0)
        for (now, to), kernel in zip(pairwise(widths), kernels, strict=True)
    )


def _through(convs: nn.Module, x: Tensor) -> Tensor:
    """Through convolutions with ReLU between them."""
    for k, conv in enumerate(convs.children()):
        x = conv(relu(x) if k else x)
    return x
