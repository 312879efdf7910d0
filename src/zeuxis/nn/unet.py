"""One U-Net, from DDPM (Ho et al. 2020, 2006.11239) over ADM (2105.05233) to Stable Diffusion (2112.10752) and XL.

The smallest part comes first: gated MLP, transformer block, transformer over pixels, block, level, network.

Legend: B images, C channels, H rows, W columns (of the level at hand), N = H W tokens, T tokens of the context,
D width of a token, E width of the context, V width of the vector. Levels are numbered from the finest, 0.

Axes: C_i channels at level i, V width of the vector of time and label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.errors import UsageError
from zeuxis.nn.attention import CrossAttention, SelfAttention, heads_of
from zeuxis.nn.conditioner import Backbone
from zeuxis.nn.embed import TimeEmbedding
from zeuxis.nn.initialise import variance_scaling
from zeuxis.nn.resblock import AttentionBlock, Downsample, ResBlock, Upsample, group_norm, zero_init


class GatedMLP(nn.Module):
    """``W2 (a * gelu(b))`` with ``[a, b] = W1 x`` (GEGLU; Shazeer 2020, 2002.05202): ``(B, N, D)`` to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, 8 * width)
        self.outer = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.inner(x).chunk(2, -1)  # each (B, N, 4 D)
        out: Tensor = self.outer(value * F.gelu(gate))
        return out


class TransformerBlock(nn.Module):
    """Attention to one another, attention to the context, a gated MLP, each around a residual: ``(B, N, D)``."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attention = SelfAttention(width, heads, bias=False)
        self.cross_attention = CrossAttention(width, context_width, heads, bias=False)
        self.mlp = GatedMLP(width)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attention(self.norm1(x))
        x = x + self.cross_attention(self.norm2(x), context, mask)
        return x + self.mlp(self.norm3(x))


class SpatialTransformer(nn.Module):
    """``depth`` transformer blocks over the pixels of ``(B, C, H, W)``, around a residual that starts at zero.

    The maps in and out are linear; the 1x1 convolutions of SD 1.x are the same maps.
    """

    def __init__(self, channels: int, context_width: int, heads: int, depth: int = 1) -> None:
        super().__init__()
        self.norm = group_norm(channels, 1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.blocks = nn.ModuleList(TransformerBlock(channels, context_width, heads) for _ in range(depth))
        self.proj_out = nn.Linear(channels, channels)
        zero_init(self.proj_out)

    def forward(self, x: Tensor, context: Tensor | None, mask: Tensor | None = None) -> Tensor:
        h = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))  # (B, N, D) with D = C
        for block in self.blocks:
            h = block(h, context, mask)
        return x + self.proj_out(h).transpose(1, 2).unflatten(2, x.shape[2:])


class UNetBlock(nn.Module):
    """A residual block, then attention, or a transformer that attends to the context as well, if any."""

    def __init__(
        self, resblock: ResBlock, attention: AttentionBlock | None, transformer: SpatialTransformer | None
    ) -> None:
        super().__init__()
        self.resblock, self.attention, self.transformer = resblock, attention, transformer

    def forward(self, x: Tensor, c: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        x = self.resblock(x, c)
        if self.attention is not None:
            x = self.attention(x)
        if self.transformer is not None:
            x = self.transformer(x, context, mask)
        return x


class DownLevel(nn.Module):
    """The blocks of one resolution on the way down, then the halving, if any."""

    def __init__(self, blocks: list[UNetBlock], resample: Downsample | None) -> None:
        super().__init__()
        self.blocks, self.resample = nn.ModuleList(blocks), resample

    def forward(self, x: Tensor, c: Tensor, context: Tensor | None, mask: Tensor | None) -> list[Tensor]:
        """What every part made, in order: the skips of the way up, of which the last goes on down."""
        made = []
        for block in self.blocks:
            x = block(x, c, context, mask)
            made.append(x)
        return made if self.resample is None else [*made, self.resample(x)]


class UpLevel(nn.Module):
    """The blocks of one resolution on the way up, each of which takes a skip, then the doubling, if any."""

    def __init__(self, blocks: list[UNetBlock], resample: Upsample | None) -> None:
        super().__init__()
        self.blocks, self.resample = nn.ModuleList(blocks), resample

    def forward(self, x: Tensor, skips: list[Tensor], c: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        """Takes its skips from the end of ``skips``, and doubles to the size of the one after them."""
        for block in self.blocks:
            x = block(torch.cat([x, skips.pop()], 1), c, context, mask)
        return x if self.resample is None else self.resample(x, tuple(skips[-1].shape[2:]))


class Residuals(NamedTuple):
    """What a control branch adds (ControlNet, 2302.05543): one tensor to every skip, and one to the middle."""

    skips: Sequence[Tensor]
    middle: Tensor


class UNet(Backbone):
    """Images ``(B, C, H, W)`` at times ``(B,)`` to ``(B, C_out, H, W)``; H and W are multiples of 2^(levels - 1).

    Other sides are computed too, as public programs do: an odd one is halved upwards, and brought back by nearest
    neighbour to what it was.

    Args:
        channels: C, with those of anything concatenated. ``out_channels`` is C_out, by default C.
        width: channels at the finest level; ``multiples`` of it at each level, fine to coarse.
        blocks: residual blocks at each level on the way down (one more on the way up).
        attention: the downsampling factors (1, 2, 4, ...) with attention, besides the middle, which
            always has it: (2,) is 16 x 16 for images of 32 x 32.
        heads: of attention; or ``head_width`` channels to a head.
        context_width: E, the width of the context's vectors; more than 0 turns every attention into a transformer
            that also attends to the context.
        transformer_depth: its blocks, at every level or level by level (0 where ``attention`` has none); the
            middle has as many as the coarsest level, and at least one.
        added_width: of the vector that the caller gives, mapped to V by two layers (ADM's, SD XL's); 0: it has V.
        modulate: the vector scales and shifts (ADM) rather than being added (DDPM, SD).
        ddpm: Ho et al.'s order of the time embedding and asymmetric downsampling; see :func:`start_as_ddpm`.
        eps: of the group norms (1e-6 in DDPM, 1e-5 in ADM and SD).
    """

    def __init__(
        self,
        channels: int,
        *,
        out_channels: int | None = None,
        width: int = 128,
        multiples: tuple[int, ...] = (1, 2, 2, 2),
        blocks: int = 2,
        attention: tuple[int, ...] = (2,),
        heads: int = 1,
        head_width: int | None = None,
        context_width: int = 0,
        transformer_depth: int | tuple[int, ...] = 1,
        added_width: int = 0,
        modulate: bool = False,
        ddpm: bool = False,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        depths = _depths(transformer_depth, len(multiples), attention)
        v = 4 * width
        widths = [width * m for m in multiples]
        self.vector_width, self.context_width = added_width or v, context_width
        self.stride = 2 ** (len(multiples) - 1)

        def block(inputs: int, outputs: int, depth: int) -> UNetBlock:
            resblock = ResBlock(inputs, outputs, v, modulate=modulate, zero=True, eps=eps)
            n = heads_of(outputs, head_width) if head_width and depth else heads
            plain = AttentionBlock(outputs, n, zero=True, eps=eps) if depth and not context_width else None
            deep = SpatialTransformer(outputs, context_width, n, depth) if depth and context_width else None
            return UNetBlock(resblock, plain, deep)

        self.time = TimeEmbedding(v, width, ddpm=ddpm)
        self.added = nn.Sequential(nn.Linear(added_width, v), nn.SiLU(), nn.Linear(v, v)) if added_width else None
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.down_levels, self.up_levels = nn.ModuleList(), nn.ModuleList()
        now, skips = width, [width]
        for i, w in enumerate(widths):
            last = i + 1 == len(widths)
            level = [block(now if j == 0 else w, w, depths[i]) for j in range(blocks)]
            self.down_levels.append(DownLevel(level, None if last else Downsample(w, asymmetric=ddpm)))
            skips += [w] * (blocks if last else blocks + 1)
            now = w
        centre = max(1, transformer_depth if isinstance(transformer_depth, int) else depths[-1])
        self.middle_blocks = nn.ModuleList([block(now, now, centre), block(now, now, 0)])
        for i, w in reversed(list(enumerate(widths))):
            level = []
            for _ in range(blocks + 1):
                level.append(block(now + skips.pop(), w, depths[i]))
                now = w
            self.up_levels.append(UpLevel(level, Upsample(w) if i else None))
        self.norm = group_norm(now, eps)
        self.out = nn.Conv2d(now, out_channels or channels, 3, padding=1)
        zero_init(self.out)

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        vector: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        conditional: Tensor | None = None,
        residuals: Residuals | None = None,
    ) -> Tensor:
        """As :class:`Backbone` says; ``residuals`` are a control branch's, and zeros change nothing."""
        c = self.embed(time, vector, context)  # (B, V)
        skips = self.down(x, c, context, context_mask)
        h = self.middle(skips[-1], c, context, context_mask)  # (B, C_n, H / 2^(n-1), W / 2^(n-1)) at n levels
        if residuals is not None:
            skips = [skip + more for skip, more in zip(skips, residuals.skips, strict=True)]
            h = h + residuals.middle
        return self.up(h, skips, c, context, context_mask).to(x.dtype)  # (B, C_out, H, W)

    def embed(self, time: Tensor, vector: Tensor | None, context: Tensor | None) -> Tensor:
        """As :class:`Backbone`'s; a network with ``added_width`` is never without a vector (ValueError)."""
        if self.added is not None and vector is None:
            raise ValueError("a network with added_width is given a vector of that width")
        return super().embed(time, vector if self.added is None or vector is None else self.added(vector), context)

    @property
    def centre(self) -> nn.Module:
        return self.middle_blocks[-1]

    def down(
        self,
        x: Tensor,
        c: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        hint: Tensor | None = None,
    ) -> list[Tensor]:
        """The skips, from the finest to the one that goes on to the middle: one of the stem, one of every block and
        halving. ``c`` (B, V) is :meth:`embed`'s; ``hint`` (B, width, H, W) is added to the stem's."""
        skips: list[Tensor] = [self.stem(x) if hint is None else self.stem(x) + hint]  # (B, width, H, W)
        for level in self.down_levels:
            skips += level(skips[-1], c, context, mask)  # each (B, C_i, H / 2^i, W / 2^i), the last perhaps halved
        return skips

    def middle(self, h: Tensor, c: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The coarsest features, worked over: the same shape."""
        for block in self.middle_blocks:
            h = block(h, c, context, mask)
        return h

    def up(
        self,
        h: Tensor,
        skips: Sequence[Tensor],
        c: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The prediction (B, C_out, H, W) from the middle and all the skips."""
        left = list(skips)
        for level in self.up_levels:
            h = level(h, left, c, context, mask)  # (B, C_i, 2 H, 2 W), at level 0 (B, width, H, W)
        out: Tensor = self.out(F.silu(self.norm(h)))
        return out


def check_sides(height: int, width: int, levels: int) -> None:
    """Raise :class:`UsageError` unless images of these sides can be halved ``levels`` - 1 times."""
    if height % 2 ** (levels - 1) or width % 2 ** (levels - 1):
        raise UsageError(f"{width}x{height} images cannot be halved {levels - 1} times: cut the U-Net's multiples")


def _depths(depth: int | Sequence[int], levels: int, attention: Sequence[int]) -> list[int]:
    """The blocks of attention at every level, 0 where there is none."""
    if unknown := set(attention) - {2**i for i in range(levels)}:
        raise ValueError(f"no level is downsampled by {sorted(unknown)}: there are {levels} levels")
    each = [depth if 2**i in attention else 0 for i in range(levels)] if isinstance(depth, int) else list(depth)
    if [2**i for i, d in enumerate(each) if d] != sorted(attention) or len(each) != levels:
        raise ValueError(f"transformer_depth {depth} does not go with attention at {sorted(attention)} of {levels}")
    return each


def start_as_ddpm(network: UNet) -> None:
    """Ho et al.'s initial weights: of equal variance in and out, and zero in the maps that end a residual."""
    variance_scaling(network)
    for module in network.modules():
        if isinstance(module, ResBlock):
            zero_init(module.conv2)
        elif isinstance(module, AttentionBlock):
            zero_init(module.attention.out)
        elif isinstance(module, SpatialTransformer):
            zero_init(module.proj_out)
    zero_init(network.out)
