"""A transformer over a sequence of fixed length, bidirectional or causal, the latter step by step too, with a KV cache.

The blocks are those of GPT-2 as Image GPT has them (Chen et al. 2020, section 2.2): norm, attention, norm, MLP,
each pair around a residual, without biases, and norms that have a gain alone.

Axes: N positions, M new positions, D width, h heads, d width of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.errors import lookup
from zeuxis.nn.attention import Attention, attend
from zeuxis.nn.rms_norm import RMSNorm, scaled_linear


class KVCache:
    """The keys and values of one layer, position after position, so that none is computed twice."""

    def __init__(self, n: int, heads: int, length: int, depth: int, like: Tensor) -> None:
        self.keys = like.new_empty(n, heads, length, depth)
        self.values = like.new_empty(n, heads, length, depth)
        self.filled = 0

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Take in the next positions ``(B, h, M, d)``; all so far, ``(B, h, N, d)``."""
        here = slice(self.filled, self.filled + k.shape[2])
        self.keys[:, :, here], self.values[:, :, here] = k, v
        self.filled = here.stop
        return self.keys[:, :, : self.filled], self.values[:, :, : self.filled]


class SequenceAttention(Attention):
    """Tokens ``(B, N, D)``, after their ``norm``, attend to all, or with ``causal`` to those up to their own; with
    ``cache`` to those in it."""

    kind = "self"

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__(width, heads)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.causal = causal

    def forward(self, x: Tensor, norm: RMSNorm, cache: KVCache | None = None) -> Tensor:
        q, k, v = self.split(norm.into(self.qkv, x), 3)
        if cache is not None:
            k, v = cache.extend(k, v)
        seen = attend(q, k, v, None, self.control, causal=self.causal and cache is None)
        out: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return out


class DepthwiseConv(nn.Module):
    """Tokens ``(B, N, D)`` and a weighted sum, channel by channel, of those around each: a 3x3 convolution that
    begins at zero, over the last h w tokens as a map ``grid`` of them. What stands before the map passes as it is.

    Attention learns only slowly which tokens are near; this is local (Chu et al. 2021, arXiv:2102.10882, section 3.3).
    """

    def __init__(self, width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        nn.init.zeros_(self.depthwise.weight)

    def forward(self, x: Tensor) -> Tensor:
        n = self.grid[0] * self.grid[1]
        front, tokens = x[:, :-n], x[:, -n:]
        near = self.depthwise(tokens.transpose(1, 2).unflatten(2, self.grid)).flatten(2).transpose(1, 2)
        return torch.cat([front, tokens + near], 1)


class Gelu(NamedTuple):
    """An approximation of GELU: ``kernel(stretch x) / stretch``. Both factors go into the weights around it."""

    kernel: Callable[[Tensor], Tensor]
    stretch: float


GELUS: Mapping[str, Gelu] = {  # Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2
    "sigmoid": Gelu(F.silu, 1.702),  # x sigmoid(1.702 x)
    "tanh": Gelu(partial(F.gelu, approximate="tanh"), 1.0),
}


class SequenceBlock(nn.Module):
    """Attention and a four-fold MLP, each after a norm and around a residual; with a ``grid`` each also after
    a :class:`DepthwiseConv`. ``gelu`` is one of :data:`GELUS`."""

    def __init__(self, width: int, heads: int, *, causal: bool, gelu: str, grid: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Identity() if grid is None else DepthwiseConv(width, grid) for _ in range(2))
        self.norm1, self.norm2 = RMSNorm(width), RMSNorm(width)
        self.attention = SequenceAttention(width, heads, causal=causal)
        self.proj_in = nn.Linear(width, 4 * width, bias=False)
        self.proj_out = nn.Linear(4 * width, width, bias=False)
        self.gelu = lookup("gelu", gelu, GELUS)

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        x = self.conv1(x)
        x = self.conv2(x + self.attention(x, self.norm1, cache))
        kernel, stretch = self.gelu
        hidden = kernel(self.norm2.into(self.proj_in, x, stretch))  # (B, N, 4 D)
        return x + scaled_linear(hidden, self.proj_out.weight, 1 / stretch)


class SequenceTransformer(nn.Module):
    """``depth`` blocks over ``length`` tokens ``(B, N, D)``, whose places it learns; the result is normalised.

    With ``causal`` position i depends on 0 .. i, and :meth:`step` takes one position at a time. A bidirectional one may
    take its last tokens for a map, ``grid`` (h, w). ``gelu`` is one of :data:`GELUS`.
    """

    def __init__(
        self,
        length: int,
        width: int,
        depth: int,
        heads: int,
        *,
        causal: bool,
        gelu: str = "tanh",
        grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        if causal and grid is not None:
            raise ValueError("a causal transformer cannot convolve over all neighbours: give no grid")
        self.length, self.heads, self.causal = length, heads, causal
        self.pos_embed = nn.Parameter(torch.empty(length, width))
        self.blocks = nn.ModuleList(
            SequenceBlock(width, heads, causal=causal, gelu=gelu, grid=grid) for _ in range(depth)
        )
        self.norm = RMSNorm(width)
        nn.init.normal_(self.pos_embed, std=init_std(width))
        for block in self.blocks:
            for name, p in block.named_parameters():
                if p.ndim == 2:  # what ends in the residual is smaller the more of them there are, as in GPT-2
                    ends = name.startswith(("attention.out", "proj_out"))
                    nn.init.normal_(p, std=init_std(width) * ((2 * depth) ** -0.5 if ends else 1.0))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.residual(x))
        return out

    def into(self, head: nn.Linear, x: Tensor) -> Tensor:
        """``head(self(x))`` of a layer without bias; the last norm's gain goes into its weights."""
        return self.norm.into(head, self.residual(x))

    def residual(self, x: Tensor) -> Tensor:
        """What the blocks leave ``(B, N, D)``, before the last norm."""
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x

    def caches(self, n: int) -> list[KVCache]:
        """An empty cache for each layer, of ``n`` sequences."""
        depth = self.pos_embed.shape[1] // self.heads
        return [KVCache(n, self.heads, self.length, depth, self.pos_embed) for _ in self.blocks]

    def step(self, x: Tensor, caches: list[KVCache]) -> Tensor:
        """The next position ``(B, D)`` to its result ``(B, D)``, as :meth:`forward` gives it; causal ones only."""
        if not self.causal:
            raise ValueError("a bidirectional transformer has no next position")
        x = (x + self.pos_embed[caches[0].filled])[:, None]
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, cache)
        out: Tensor = self.norm(x)[:, 0]
        return out


def init_std(width: int) -> float:
    """The standard deviation of initial weights: about 0.02 at GPT-2's width of 768."""
    return 0.5 * width**-0.5
