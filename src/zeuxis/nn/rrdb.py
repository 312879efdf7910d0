"""The network of ESRGAN and Real-ESRGAN: dense blocks in residuals in a residual, without norms.

Wang et al. 2018, "ESRGAN" (1809.00219), sections 3.1 and 4.1; Wang et al. 2021, "Real-ESRGAN" (2107.10833), section
3.3, whose networks for twice and once the size rearrange pixels into channels first. Counts at 64 channels, growth 32:
16,697,987 parameters with 23 blocks, 4,467,779 with 6.

Axes: k convolutions so far.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, pad, pixel_unshuffle

from zeuxis.errors import UsageError
from zeuxis.nn.picture_network import PictureNetwork

SLOPE = 0.2  # of the leaky ReLUs
BETA = 0.2  # by which residuals are scaled (section 3.1)
CONVOLUTIONS = 5  # of a dense block


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size, begun at a tenth of He's variance's root (appendix A of ESRGAN)."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    if layer.weight.is_meta:  # it will be given its numbers, and drawing none takes time
        return layer
    nn.init.kaiming_normal_(layer.weight)
    with torch.no_grad():
        layer.weight *= 0.1
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # a convolution may have none, and this one has
    return layer


class DenseBlock(nn.Module):
    """``(B, C, H, W)`` to the same: each of five convolutions sees the input and all that those before it made."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        outputs = [growth] * (CONVOLUTIONS - 1) + [width]
        self.convs = nn.ModuleList(conv(width + k * growth, n) for k, n in enumerate(outputs))

    def forward(self, x: Tensor) -> Tensor:
        *inner, last = self.convs
        seen = x
        for layer in inner:
            seen = torch.cat([seen, leaky_relu(layer(seen), SLOPE)], 1)  # (B, C + k growth, H, W)
        out: Tensor = x + BETA * last(seen)
        return out


class RRDB(nn.Module):
    """Three dense blocks around a residual: ``(B, C, H, W)`` to the same."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(DenseBlock(width, growth) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + BETA * self.blocks(x)
        return out


class RRDBNet(PictureNetwork):
    """Pictures ``(B, C, H, W)`` in [0, 1] to pictures ``(B, C, scale H, scale W)``, about in [0, 1].

    Args:
        channels: of the pictures.
        blocks: residuals in the residual.
        width: channels within.
        growth: channels that each convolution of a dense block adds.
        doublings: how often the sides are doubled at the end.
        unshuffle: the side of the squares of pixels that become channels first; the last rows and columns are
            repeated up to a multiple of it. ``scale`` is ``2 ** doublings / unshuffle``.
    """

    def __init__(
        self,
        channels: int = 3,
        *,
        blocks: int = 23,
        width: int = 64,
        growth: int = 32,
        doublings: int = 2,
        unshuffle: int = 1,
    ) -> None:
        super().__init__()
        if unshuffle < 1 or 2**doublings % unshuffle:
            raise ValueError(f"{doublings} doublings after pixels were put together by {unshuffle}: no whole scale")
        self.channels, self.scale, self.unshuffle = channels, 2**doublings // unshuffle, unshuffle
        # How far a pixel of the result sees, in pixels of the picture, and how many numbers live at a time for each.
        self.reach, self.step = unshuffle * (2 + 3 * CONVOLUTIONS * blocks + 2), unshuffle
        self.floats = (5 * width + 2 * CONVOLUTIONS * growth) // unshuffle**2 + 3 * width * self.scale**2
        self.growth = growth
        self.first = conv(channels * unshuffle**2, width)
        self.body = nn.Sequential(*(RRDB(width, growth) for _ in range(blocks)))
        self.after_body = conv(width, width)
        self.ups = nn.ModuleList(conv(width, width) for _ in range(doublings))
        self.fine = conv(width, width)
        self.last = conv(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if self.unshuffle > 1:
            x = pixel_unshuffle(_filled_up(x, self.unshuffle), self.unshuffle)
        h = self.first(x)
        h = h + self.after_body(self.body(h))
        for up in self.ups:
            h = leaky_relu(up(interpolate(h, scale_factor=2, mode="nearest")), SLOPE)
        out: Tensor = self.last(leaky_relu(self.fine(h), SLOPE))
        return out[:, :, : height * self.scale, : width * self.scale]


def rrdb_sizes(network: nn.Module) -> dict[str, int]:
    """The keywords of :func:`rrdb_enlarging` for a network like this one; none of a network of another kind."""
    if not isinstance(network, RRDBNet):
        return {}
    return {"blocks": len(network.body), "width": network.after_body.in_channels, "growth": network.growth}


WAYS = {1: (2, 4), 2: (2, 2), 4: (2, 1), 8: (3, 1)}  # doublings and squares put together, by scale, as published


def rrdb_enlarging(scale: int, channels: int = 3, *, blocks: int = 23, width: int = 64, growth: int = 32) -> RRDBNet:
    """The network for that scale; raises :class:`UsageError` where there is none."""
    if scale not in WAYS:
        raise UsageError(f"RRDB networks enlarge by {', '.join(map(str, WAYS))}, not by {scale}")
    doublings, unshuffle = WAYS[scale]
    return RRDBNet(channels, blocks=blocks, width=width, growth=growth, doublings=doublings, unshuffle=unshuffle)


def _filled_up(x: Tensor, multiple: int) -> Tensor:
    """``x`` with its last rows and columns repeated up to a multiple; repeating, unlike mirroring, needs one pixel."""
    bottom, right = (-side % multiple for side in x.shape[2:])
    return pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x
