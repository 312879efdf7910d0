"""A transformer that predicts every value of a sequence from those before it, all at once or one by one.

Axes: N places of a sequence, K codes, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.nn.sequence import KVCache, SequenceTransformer, init_std


class CausalTransformer(nn.Module):
    """Of sequences ``(B, N)`` of K ``codes``: logits ``(B, N, K)``, those of place i from codes 0 .. i - 1.

    With ``classes`` the sequence begins with a token of its class, otherwise with one that is always the same.
    ``gelu`` is one of :data:`zeuxis.nn.sequence.GELUS`.
    """

    def __init__(
        self, codes: int, length: int, width: int, depth: int, heads: int, *, classes: int = 0, gelu: str = "sigmoid"
    ) -> None:
        super().__init__()
        self.start = nn.Embedding(max(classes, 1), width)
        self.token = nn.Embedding(codes, width)
        self.body = SequenceTransformer(length, width, depth, heads, causal=True, gelu=gelu)
        self.head = nn.Linear(width, codes, bias=False)
        nn.init.normal_(self.start.weight, std=init_std(width))
        nn.init.normal_(self.token.weight, std=init_std(width))
        nn.init.zeros_(self.head.weight)

    def forward(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        before = torch.cat([self.begin(len(codes), label)[:, None], self.token(codes[:, :-1])], 1)  # (B, N, D)
        return self.body.into(self.head, before)

    def begin(self, n: int, label: Tensor | None = None) -> Tensor:
        """The token that comes before the first place, ``(n, D)``."""
        which = torch.zeros(n, dtype=torch.int64, device=self.start.weight.device) if label is None else label
        first: Tensor = self.start(which)
        return first

    def caches(self, n: int) -> list[KVCache]:
        """Empty key-value caches of ``n`` sequences, for :meth:`step`."""
        return self.body.caches(n)

    def step(self, last: Tensor, caches: list[KVCache]) -> Tensor:
        """Logits ``(B, K)`` of the next place, from the token ``(B, D)`` before it and all that came earlier."""
        logits: Tensor = self.head(self.body.step(last, caches))
        return logits
