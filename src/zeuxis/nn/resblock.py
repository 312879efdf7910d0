"""The residual block, the attention block and the resampling that the U-Net and the autoencoder share.

Legend: B images, C channels, H rows, W columns, D width of the vector.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.nn.attention import SelfAttention


def group_norm(channels: int, eps: float = 1e-6) -> nn.GroupNorm:
    """GroupNorm of 32 groups (Wu & He 2018); below 128 channels fewer, so that at least 4 channels share a group."""
    groups = math.gcd(32, channels) if channels >= 128 else math.gcd(32, channels // 4, channels)
    return nn.GroupNorm(groups, channels, eps=eps)


def zero_init(layer: nn.Module) -> None:
    """Zero a layer's parameters, so that the residual it ends starts as the identity."""
    for p in layer.parameters():
        nn.init.zeros_(p)


class ResBlock(nn.Module):
    """norm, SiLU, conv 3x3, twice, around a residual: ``(B, C_in, H, W)`` to ``(B, C_out, H, W)``.

    A vector ``(B, D)`` (time, label) is added between the two, as in DDPM, or with ``modulate``
    scales and shifts the second norm, as in ADM (Dhariwal & Nichol 2021); ``vector`` is D, 0 for none.
    ``zero`` starts the second convolution at zero.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        vector: int = 0,
        *,
        modulate: bool = False,
        zero: bool = False,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.modulate = modulate
        self.norm1 = group_norm(inputs, eps)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.vector = nn.Linear(vector, (2 if modulate else 1) * outputs) if vector else None
        self.norm2 = group_norm(outputs, eps)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        if zero:
            zero_init(self.conv2)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        if self.vector is None or c is None:
            h = self.norm2(h)
        elif self.modulate:
            scale, shift = self.vector(F.silu(c))[:, :, None, None].chunk(2, 1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + self.vector(F.silu(c))[:, :, None, None])
        out: Tensor = self.skip(x) + self.conv2(F.silu(h))
        return out


class AttentionBlock(nn.Module):
    """Every pixel attends to every other, around a residual: ``(B, C, H, W)`` to the same."""

    def __init__(self, channels: int, heads: int = 1, *, zero: bool = False, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm = group_norm(channels, eps)
        self.attention = SelfAttention(channels, heads)
        if zero:
            zero_init(self.attention.out)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, H W, C)
        return x + self.attention(tokens).transpose(1, 2).unflatten(2, x.shape[2:])


class Downsample(nn.Module):
    """Halve by a 3x3 convolution of stride 2. ``asymmetric`` pads below and to the right only, which is
    TensorFlow's "same" (DDPM, and the first stages of LDM); otherwise it pads all round (ADM, SD)."""

    def __init__(self, channels: int, *, asymmetric: bool = False) -> None:
        super().__init__()
        self.asymmetric = asymmetric
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=0 if asymmetric else 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)) if self.asymmetric else x)
        return out


class Upsample(nn.Module):
    """Double by nearest neighbour, then a 3x3 convolution; to ``size``, where what was halved had an odd side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        wanted = (2 * x.shape[2], 2 * x.shape[3]) if size is None else size
        out: Tensor = self.conv(F.interpolate(x, wanted, mode="nearest"))
        return out
