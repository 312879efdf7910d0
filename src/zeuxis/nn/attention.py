"""Multi-head attention, with one seam for those who want to watch or steer it.

Every attention of the library, but for that of two adversarial networks (:mod:`zeuxis.nn.non_local`), is an
:class:`Attention`, of the kind "self" or "cross". Each has an attribute ``control``, normally ``None``. Given a
callable, it receives the attention probabilities ``(B, h, Q, K)`` and returns those to use;
:func:`zeuxis.nn.control.controlled` sets those of a whole network. Without one the fused kernel is used wherever it is
the faster.

Legend: B images, N tokens, T tokens of the context, Q queries, K keys, D width, E width of the context, h heads,
d = D / h the width of one.

Axes: N tokens, Q queries, K keys, D width, h heads, d width of a head, E width of what is attended to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.errors import UsageError

Probabilities = Callable[[Tensor], Tensor]  # (B, h, Q, K) to those to use


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    control: Probabilities | None = None,
    *,
    causal: bool = False,
) -> Tensor:
    """Scaled dot-product attention. ``q`` ``(B, h, Q, d)``, ``k`` and ``v`` ``(B, h, K, d)``; ``mask`` is
    bool, broadcastable to ``(B, h, Q, K)``, true where a query may look (at least once a row). ``causal``, in place of
    a mask, lets query i look at the keys 0 .. i: the fused kernel then computes no more than those."""
    if control is None and not _explicit_is_faster(q, k):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    p = scores.softmax(-1)
    return (p if control is None else control(p)).to(v.dtype) @ v


def _explicit_is_faster(q: Tensor, k: Tensor) -> bool:
    """In bfloat16 on a CPU the fused kernel is 3 times slower than three products (torch 2.13, 256 tokens)."""
    return q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[-2] * k.shape[-2] <= 2**20


def heads_of(width: int, head_width: int) -> int:
    """How many heads of ``head_width`` channels ``width`` has; raises :class:`UsageError` where they do not divide."""
    if width % head_width:
        raise UsageError(f"an attention at {width} channels is not of whole heads of {head_width}: change head_width")
    return width // head_width


class Attention(nn.Module):
    """What both kinds share: heads, the output projection and the seam."""

    kind: Literal["self", "cross"]

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise UsageError(f"a width of {width} is not a multiple of {heads} heads: change one of them")
        self.heads = heads
        self.out = nn.Linear(width, width)
        self.control: Probabilities | None = None

    def split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """``(B, N, parts D)`` to ``parts`` tensors ``(B, h, N, d)``."""
        # Each part by itself, so that their gradients are laid side by side as they come, without another copy.
        return tuple(part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in x.chunk(parts, -1))

    def merge(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        mask = None if mask is None else mask[:, None, None]  # (B, 1, 1, K)
        x: Tensor = self.out(attend(q, k, v, mask, self.control).transpose(1, 2).flatten(2))
        return x


class SelfAttention(Attention):
    """Tokens ``(B, N, D)`` attend to one another; ``mask`` ``(B, N)`` bool is true for real tokens."""

    kind = "self"

    def __init__(self, width: int, heads: int, *, bias: bool = True) -> None:
        super().__init__(width, heads)
        self.qkv = nn.Linear(width, 3 * width, bias=bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.split(self.qkv(x), 3)
        return self.merge(q, k, v, mask)


class CrossAttention(Attention):
    """Tokens ``(B, N, D)`` attend to a context ``(B, T, E)``, E being ``context_width``; ``mask`` ``(B, T)`` bool."""

    kind = "cross"

    def __init__(self, width: int, context_width: int, heads: int, *, bias: bool = True) -> None:
        super().__init__(width, heads)
        self.q = nn.Linear(width, width, bias=bias)
        self.kv = nn.Linear(context_width, 2 * width, bias=bias)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        (q,) = self.split(self.q(x), 1)
        k, v = self.split(self.kv(context), 2)
        return self.merge(q, k, v, mask)
