"""The transformer that stands between the residual blocks of Stable Diffusion (Rombach et al. 2022, 2112.10752)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.nn.attention import CrossAttention, SelfAttention
from zeuxis.nn.resblock import group_norm, zero_init


class GatedMLP(nn.Module):
    """``W2 (a * gelu(b))`` with ``[a, b] = W1 x`` (GEGLU; Shazeer 2020, 2002.05202): ``(B, N, D)`` to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, 8 * width)
        self.outer = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.inner(x).chunk(2, -1)
        out: Tensor = self.outer(value * F.gelu(gate))
        return out


class TransformerBlock(nn.Module):
    """Attention to one another, attention to the text, a gated MLP, each around a residual."""

    def __init__(self, width: int, text_width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attention = SelfAttention(width, heads, bias=False)
        self.cross_attention = CrossAttention(width, text_width, heads, bias=False)
        self.mlp = GatedMLP(width)

    def forward(self, x: Tensor, text: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attention(self.norm1(x))
        x = x + self.cross_attention(self.norm2(x), text, mask)
        return x + self.mlp(self.norm3(x))


class SpatialTransformer(nn.Module):
    """``depth`` reader blocks over the pixels of ``(B, C, H, W)``, around a residual that starts at zero.

    The maps in and out are linear; the 1x1 convolutions of SD 1.x are the same maps.
    """

    def __init__(self, channels: int, text_width: int, heads: int, depth: int = 1) -> None:
        super().__init__()
        self.norm = group_norm(channels, 1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.blocks = nn.ModuleList(TransformerBlock(channels, text_width, heads) for _ in range(depth))
        self.proj_out = nn.Linear(channels, channels)
        zero_init(self.proj_out)

    def forward(self, x: Tensor, text: Tensor, mask: Tensor | None = None) -> Tensor:
        h = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))  # (B, H W, C)
        for block in self.blocks:
            h = block(h, text, mask)
        return x + self.proj_out(h).transpose(1, 2).unflatten(2, x.shape[2:])
