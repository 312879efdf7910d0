"""Multi-head attention, with one seam for those who want to watch or steer it.

Every attention of the library is a :class:`SelfAttention` or a :class:`CrossAttention`. Each has an
attribute ``control``, normally ``None``. Given a callable, it receives the attention probabilities
``(B, heads, Q, K)`` and returns those to use: it may store them, replace them by another picture's,
or reweight them. Without one the fused kernel is used wherever it is the faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.errors import UsageError

Control = Callable[[Tensor], Tensor]


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, control: Control | None = None) -> Tensor:
    """Scaled dot-product attention. ``q`` ``(B, h, Q, d)``, ``k`` and ``v`` ``(B, h, K, d)``; ``mask`` is
    bool, broadcastable to ``(B, h, Q, K)``, true where a query may look (at least once a row)."""
    if control is None and not _explicit_is_faster(q, k):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    p = scores.softmax(-1)
    return (p if control is None else control(p)).to(v.dtype) @ v


def _explicit_is_faster(q: Tensor, k: Tensor) -> bool:
    """In bfloat16 on a CPU the fused kernel is 3 times slower than three products (torch 2.13, 256 tokens)."""
    return q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[-2] * k.shape[-2] <= 2**20


class _Attention(nn.Module):
    """What both kinds share: heads, the output projection and the seam."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise UsageError(f"a width of {width} is not a multiple of {heads} heads: change one of them")
        self.heads = heads
        self.out = nn.Linear(width, width)
        self.control: Control | None = None

    def split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """``(B, N, parts * D)`` to ``parts`` tensors ``(B, heads, N, D / heads)``."""
        return x.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def merge(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        mask = None if mask is None else mask[:, None, None]  # (B, 1, 1, K)
        x: Tensor = self.out(attend(q, k, v, mask, self.control).transpose(1, 2).flatten(2))
        return x


class SelfAttention(_Attention):
    """Tokens ``(B, N, D)`` attend to one another; ``mask`` ``(B, N)`` bool is true for real tokens."""

    def __init__(self, width: int, heads: int, *, bias: bool = True) -> None:
        super().__init__(width, heads)
        self.qkv = nn.Linear(width, 3 * width, bias=bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.split(self.qkv(x), 3)
        return self.merge(q, k, v, mask)


class CrossAttention(_Attention):
    """Tokens ``(B, N, D)`` attend to a context ``(B, T, context)``; ``mask`` ``(B, T)`` bool."""

    def __init__(self, width: int, context: int, heads: int, *, bias: bool = True) -> None:
        super().__init__(width, heads)
        self.q = nn.Linear(width, width, bias=bias)
        self.kv = nn.Linear(context, 2 * width, bias=bias)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        (q,) = self.split(self.q(x), 1)
        k, v = self.split(self.kv(context), 2)
        return self.merge(q, k, v, mask)


@contextmanager
def controlled(net: nn.Module, control: Callable[[str, Tensor], Tensor]) -> Iterator[None]:
    """Within this context every attention of ``net`` passes its probabilities through ``control(name, p)``,
    where ``name`` is the module's path in ``net``."""
    layers = {name: m for name, m in net.named_modules() if isinstance(m, _Attention)}
    before = {name: m.control for name, m in layers.items()}
    for name, layer in layers.items():
        layer.control = lambda p, name=name: control(name, p)
    try:
        yield
    finally:
        for name, layer in layers.items():
            layer.control = before[name]
