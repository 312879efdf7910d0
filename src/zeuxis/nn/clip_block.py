"""The transformer block that both of CLIP's towers are made of (Radford et al. 2021, arXiv:2103.00020, section 2.4).

Axes: N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.errors import lookup
from zeuxis.nn.attention import SelfAttention, attend


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), OpenAI's approximation of GELU: networks trained with it differ visibly under another."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType({"quick-gelu": quick_gelu, "gelu": F.gelu})
"""Of the MLP: "quick-gelu" in OpenAI's networks, "gelu" (exact) in most of OpenCLIP's."""


class ClipAttention(SelfAttention):
    """Tokens ``(B, N, D)`` attend to one another; a ``causal`` one's to themselves and to those before them alone."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__(width, heads)
        self.causal = causal

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if not self.causal:
            return super().forward(x, mask)
        if mask is not None:
            raise ValueError("a causal tower takes no mask: what is padded comes last, and nothing looks at it")
        q, k, v = self.split(self.qkv(x), 3)
        out: Tensor = self.out(attend(q, k, v, None, self.control, causal=True).transpose(1, 2).flatten(2))
        return out


class ClipMLP(nn.Module):
    """``(..., D)`` to the same, over ``hidden``."""

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.activation = lookup("activation", activation, ACTIVATIONS)
        self.proj_in = nn.Linear(width, hidden)
        self.proj_out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.proj_out(self.activation(self.proj_in(x)))
        return out


class ClipBlock(nn.Module):
    """Attention and an MLP, each after a layer norm and around a residual: ``(B, N, D)`` to the same."""

    def __init__(self, width: int, heads: int, hidden: int, activation: str, *, causal: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = ClipAttention(width, heads, causal=causal)
        self.mlp = ClipMLP(width, hidden, activation)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def initialise(self, depth: int) -> None:
        """As the authors' code: what ends in the residual is smaller the more blocks there are."""
        width = self.norm1.normalized_shape[0]
        into, out_of = width**-0.5, width**-0.5 * (2 * depth) ** -0.5
        nn.init.normal_(self.attention.qkv.weight, std=into)
        nn.init.normal_(self.attention.out.weight, std=out_of)
        nn.init.normal_(self.mlp.proj_in.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(self.mlp.proj_out.weight, std=out_of)
        for layer in (self.attention.qkv, self.attention.out, self.mlp.proj_in, self.mlp.proj_out):
            nn.init.zeros_(layer.bias)
