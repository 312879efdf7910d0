"""A transformer over a sequence of fixed length, which may look both ways or only back; and back with a memory.

The blocks are those of GPT-2 as Image GPT has them (Chen et al. 2020, section 2.2): norm, attention, norm, MLP,
each pair around a residual, without biases, and norms that have a gain alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.nn.attention import SelfAttention, attend


class Memory:
    """The keys and values of one layer, position after position, so that none is computed twice."""

    def __init__(self, n: int, heads: int, length: int, depth: int, like: Tensor) -> None:
        self.keys = like.new_empty(n, heads, length, depth)
        self.values = like.new_empty(n, heads, length, depth)
        self.known = 0

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Take in the next positions ``(B, h, M, d)``; all that are known, ``(B, h, N, d)``."""
        here = slice(self.known, self.known + k.shape[2])
        self.keys[:, :, here], self.values[:, :, here] = k, v
        self.known = here.stop
        return self.keys[:, :, : self.known], self.values[:, :, : self.known]


class SequenceAttention(SelfAttention):
    """Tokens ``(B, N, D)`` attend where ``mask`` ``(N, N)`` is true (query, key), and to those in ``memory``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        q, k, v = self.split(self.qkv(x), 3)
        if memory is not None:
            k, v = memory.extend(k, v)
        out: Tensor = self.out(attend(q, k, v, mask, self.control).transpose(1, 2).flatten(2))
        return out


class Neighbours(nn.Module):
    """Tokens ``(B, N, D)`` and a weighted sum, channel by channel, of those around each: a 3x3 convolution that
    begins at zero, over the last h w tokens as a map ``grid`` of them. What stands before the map passes as it is.

    Attention learns only slowly which tokens are near; this knows it (Chu et al. 2021, arXiv:2102.10882, section 3.3).
    """

    def __init__(self, width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.around = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        nn.init.zeros_(self.around.weight)

    def forward(self, x: Tensor) -> Tensor:
        n = self.grid[0] * self.grid[1]
        front, tokens = x[:, :-n], x[:, -n:]
        near = self.around(tokens.transpose(1, 2).unflatten(2, self.grid)).flatten(2).transpose(1, 2)
        return torch.cat([front, tokens + near], 1)


class SequenceBlock(nn.Module):
    """Attention and a four-fold MLP, each after a norm and around a residual; with a ``grid`` also after a look at
    the :class:`Neighbours`."""

    def __init__(self, width: int, heads: int, grid: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.near1, self.near2 = (nn.Identity() if grid is None else Neighbours(width, grid) for _ in range(2))
        self.norm1, self.norm2 = nn.RMSNorm(width, 1e-5), nn.RMSNorm(width, 1e-5)
        self.attention = SequenceAttention(width, heads)
        self.enter = nn.Linear(width, 4 * width, bias=False)
        self.leave = nn.Linear(4 * width, width, bias=False)
        self.gelu = nn.GELU("tanh")

    def forward(self, x: Tensor, mask: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        x = self.near1(x)
        x = self.near2(x + self.attention(self.norm1(x), mask, memory))
        out: Tensor = x + self.leave(self.gelu(self.enter(self.norm2(x))))
        return out


class SequenceTransformer(nn.Module):
    """``depth`` blocks over ``length`` tokens ``(B, N, D)``, whose places it learns; the result is normalised.

    With ``causal`` position i sees 0 .. i, and :meth:`step` takes one position at a time. Looking both ways it may
    be told that its last tokens are a map, ``grid`` (h, w).
    """

    back: Tensor | None  # (N, N) bool, true where a query may look

    def __init__(
        self, length: int, width: int, depth: int, heads: int, *, causal: bool, grid: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        if causal and grid is not None:
            raise ValueError("a transformer that looks only back cannot look at all neighbours: give no grid")
        self.length, self.heads = length, heads
        self.place = nn.Parameter(torch.empty(length, width))
        self.blocks = nn.ModuleList(SequenceBlock(width, heads, grid) for _ in range(depth))
        self.norm = nn.RMSNorm(width, 1e-5)
        back = torch.ones(length, length, dtype=torch.bool).tril() if causal else None
        self.register_buffer("back", back, persistent=False)
        nn.init.normal_(self.place, std=spread(width))
        for block in self.blocks:
            for name, p in block.named_parameters():
                if p.ndim == 2:  # what ends in the residual is smaller the more of them there are, as in GPT-2
                    ends = name.startswith(("attention.out", "leave"))
                    nn.init.normal_(p, std=spread(width) * ((2 * depth) ** -0.5 if ends else 1.0))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.place
        for block in self.blocks:
            x = block(x, self.back)
        out: Tensor = self.norm(x)
        return out

    def memories(self, n: int) -> list[Memory]:
        """An empty memory for each layer, of ``n`` sequences."""
        depth = self.place.shape[1] // self.heads
        return [Memory(n, self.heads, self.length, depth, self.place) for _ in self.blocks]

    def step(self, x: Tensor, memories: list[Memory]) -> Tensor:
        """The next position ``(B, D)`` to its result ``(B, D)``, as :meth:`forward` gives it; causal ones only."""
        if self.back is None:
            raise ValueError("a transformer that looks both ways has no next position")
        x = (x + self.place[memories[0].known])[:, None]
        for block, memory in zip(self.blocks, memories, strict=True):
            x = block(x, None, memory)
        out: Tensor = self.norm(x)[:, 0]
        return out


def spread(width: int) -> float:
    """The standard deviation of initial weights: about 0.02 at GPT-2's width of 768."""
    return 0.5 * width**-0.5
