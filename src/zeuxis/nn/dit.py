"""The diffusion transformer (Peebles & Xie 2023, 2212.09748), with cross-attention to a context (PixArt, 2310.00426).

Legend: B images, C channels, H rows, W columns, p the side of a patch, r and c its row and column, N = H W / p^2
tokens, T tokens of the context, D width of a token and of the vector, E width of the context.

Axes: N tokens, D width, E width of the text, r and c rows and columns of patches,
p and q rows and columns within a patch.
"""

from __future__ import annotations

from torch import Tensor, nn

from zeuxis.errors import UsageError
from zeuxis.nn.attention import CrossAttention, SelfAttention
from zeuxis.nn.conditioner import Backbone
from zeuxis.nn.embed import TimeEmbedding, pos_embed
from zeuxis.nn.mlp import mlp, modulate
from zeuxis.nn.resblock import zero_init


def _norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)


class DiTBlock(nn.Module):
    """A transformer block whose norms and residuals are steered by a vector (adaLN-zero, Section 3.2).

    Attention to the context, if ``context_width``, comes between the two, as in PixArt (here after a norm). The
    other two residuals are zero at initialisation. PixArt's zero there too spares a trained image model a shock; a
    model that starts from nothing only learns to use the context later for it.
    """

    def __init__(self, width: int, heads: int, context_width: int = 0) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(width), _norm(width)
        self.attention = SelfAttention(width, heads)
        self.mlp = mlp(width)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        zero_init(self.modulation[1])
        self.norm_context = _norm(width) if context_width else None
        self.cross_attention = CrossAttention(width, context_width, heads) if context_width else None

    def forward(self, x: Tensor, c: Tensor, context: Tensor | None, context_mask: Tensor | None) -> Tensor:
        """``x`` ``(B, N, D)``, ``c`` ``(B, D)``, ``context`` ``(B, T, E)``, ``context_mask`` ``(B, T)``."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c)[:, None].chunk(6, -1)  # each (B, 1, D)
        x = x + gate1 * self.attention(modulate(self.norm1(x), shift1, scale1))
        if self.cross_attention is not None and self.norm_context is not None:
            x = x + self.cross_attention(self.norm_context(x), context, context_mask)
        return x + gate2 * self.mlp(modulate(self.norm2(x), shift2, scale2))


class DiT(Backbone):
    """Images ``(B, C, H, W)`` at times ``(B,)`` to ``(B, C_out, H, W)``.

    Args:
        channels: C. ``out_channels`` is C_out, by default C (2 C for a learned variance).
        size: (H, W), multiples of ``patch``; or one number for both.
        patch: p, the side of a patch: there are N = H W / p^2 tokens.
        width, depth, heads: of Table 1 (S: 384, 12, 6; B: 768, 12, 12; L: 1024, 24, 16;
            XL: 1152, 28, 16).
        context_width: E, the width of the vectors that cross-attention attends to; 0 has none.

    The position embedding is a buffer here and the classes are a :class:`LabelConditioner`'s, so the published counts
    are ours plus N D and the conditioner's.
    """

    def __init__(
        self,
        channels: int,
        size: int | tuple[int, int],
        *,
        patch: int = 2,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        out_channels: int | None = None,
        context_width: int = 0,
    ) -> None:
        super().__init__()
        h, w = size if isinstance(size, tuple) else (size, size)
        if h % patch or w % patch:
            raise UsageError(f"{h} x {w} is not made of whole {patch} x {patch} patches: change the size or the patch")
        self.patch, self.vector_width, self.context_width = patch, width, context_width
        self.grid = (h // patch, w // patch)
        self.patchify = nn.Conv2d(channels, width, patch, patch)
        self.time = TimeEmbedding(width)
        self.blocks = nn.ModuleList(DiTBlock(width, heads, context_width) for _ in range(depth))
        self.norm = _norm(width)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.out = nn.Linear(width, patch * patch * (out_channels or channels))
        self.register_buffer("pos_embed", pos_embed(*self.grid, width), persistent=False)  # (N, D)
        self.pos_embed: Tensor
        self._initialise()

    def _initialise(self) -> None:
        """As the paper's code: Xavier for every linear map, N(0, 0.02) for time, zeros where it says adaLN-*zero*."""
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(p)
            else:
                nn.init.xavier_uniform_(p.flatten(1))  # a view, also of the patch convolution's weight
        for p in self.time.parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.02)
        zeroed = [self.out, self.modulation[1]]
        for block in self.modules():
            if isinstance(block, DiTBlock):
                zeroed.append(block.modulation[1])
        for layer in zeroed:
            nn.init.zeros_(layer.get_parameter("weight"))

    @property
    def centre(self) -> nn.Module:
        return self.blocks[len(self.blocks) // 2]

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
        h = self.patchify(x).flatten(2).transpose(1, 2) + self.pos_embed  # (B, N, D)
        for block in self.blocks:
            h = block(h, c, context, context_mask)  # (B, N, D)
        shift, scale = self.modulation(c)[:, None].chunk(2, -1)
        h = self._unpatchify(self.out(modulate(self.norm(h), shift, scale)))  # (B, C_out, H, W)
        return h.to(x.dtype)

    def _unpatchify(self, h: Tensor) -> Tensor:
        """``(B, N, p p C)`` to ``(B, C, H, W)``; within a patch the order is row, column, channel."""
        (rows, columns), p = self.grid, self.patch
        h = h.unflatten(2, (p, p, -1)).unflatten(1, (rows, columns))  # (B, r, c, p, q, C)
        return h.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
