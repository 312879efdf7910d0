"""The U-ViT of simple diffusion (Hoogeboom, Heek & Salimans 2023, 2301.11093): a U-Net whose middle is a transformer.

Convolutions draw: at the fine level they see every pixel and no patch has a seam. Attention composes: at the coarse
level it places things, and attends to the context, for the price of few tokens. (Bao et al. 2022, 2209.12152, gave
the same name to another network, a transformer with long skips.)

Legend: B images, C channels, H rows, W columns, p the side of a patch, r = H / p rows and c = W / p columns of
N = r c tokens, F channels of the fine level, D width of a token and of the vector, E width of the context.

Axes: N tokens, D width, F channels of the stem, r and c rows and columns of patches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.errors import UsageError
from zeuxis.nn.conditioner import Backbone
from zeuxis.nn.dit import DiTBlock
from zeuxis.nn.embed import TimeEmbedding
from zeuxis.nn.resblock import ResBlock, group_norm, zero_init


class UViT(Backbone):
    """Images ``(B, C, H, W)`` at times ``(B,)`` to ``(B, C_out, H, W)``.

    Args:
        channels: C, with those of anything concatenated. ``out_channels`` is C_out, by default C.
        size: (H, W), multiples of ``patch``.
        patch: p, an even number: a token of the middle covers p x p pixels, a cell of the fine level p/2 x p/2.
        fine: channels of the fine level; ``fine_depth``, its residual blocks on the way down, and again on the way up.
        width, depth, heads: of the transformer, whose blocks are DiT's.
        context_width: E, the width of the vectors that cross-attention attends to; 0 has none.

    Here one fine level, the skip is concatenated, and the residual blocks are ADM's; the paper has several levels.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        *,
        out_channels: int | None = None,
        patch: int = 4,
        fine: int = 64,
        fine_depth: int = 3,
        width: int = 160,
        depth: int = 4,
        heads: int = 5,
        context_width: int = 0,
    ) -> None:
        super().__init__()
        h, w = size
        if patch % 2 or h % patch or w % patch:
            raise UsageError(
                f"{h} x {w} is not made of whole patches of an even side: change the size or the patch ({patch})"
            )
        cell = patch // 2
        self.vector_width, self.context_width = width, context_width
        self.grid = (h // patch, w // patch)
        self.time = TimeEmbedding(width)
        self.stem = nn.Conv2d(channels, fine, cell, cell) if cell > 1 else nn.Conv2d(channels, fine, 3, padding=1)
        self.down = nn.ModuleList(ResBlock(fine, fine, width, modulate=True, zero=True) for _ in range(fine_depth))
        self.proj_in = nn.Conv2d(fine, width, 2, 2)
        self.pos_embed = nn.Parameter(torch.empty(self.grid[0] * self.grid[1], width))
        nn.init.normal_(self.pos_embed, std=0.5)
        self.middle = nn.ModuleList(DiTBlock(width, heads, context_width) for _ in range(depth))
        self.proj_out = nn.Sequential(nn.Conv2d(width, 4 * fine, 1), nn.PixelShuffle(2))
        self.join = nn.Conv2d(2 * fine, fine, 1)
        self.up = nn.ModuleList(ResBlock(fine, fine, width, modulate=True, zero=True) for _ in range(fine_depth))
        self.norm = group_norm(fine)
        self.out = nn.Conv2d(fine, (out_channels or channels) * cell**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(cell)
        zero_init(self.out)

    @property
    def centre(self) -> nn.Module:
        return self.middle[len(self.middle) // 2]

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        vector: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        conditional: Tensor | None = None,
    ) -> Tensor:
        c = self.embed(time, vector, context)  # (B, D)
        skip = self.stem(x)  # (B, F, 2 r, 2 c)
        for block in self.down:
            skip = block(skip, c)
        h = self.proj_in(skip).flatten(2).transpose(1, 2) + self.pos_embed  # (B, N, D)
        for block in self.middle:
            h = block(h, c, context, context_mask)
        h = self.proj_out(h.transpose(1, 2).unflatten(2, self.grid))  # (B, F, 2 r, 2 c)
        h = self.join(torch.cat([skip, h], 1))  # (B, F, 2 r, 2 c)
        for block in self.up:
            h = block(h, c)
        h = self.shuffle(self.out(F.silu(self.norm(h))))  # (B, C_out, H, W)
        return h.to(x.dtype)
