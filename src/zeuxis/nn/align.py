"""Encoders of captions, and a recurrent state's additive attention to their words (Bahdanau et al. 2014, 1409.0473).

As in Mansimov et al. 2015 (1511.02793), section 3. Symbols -> code:
    h^lang -> TextContext.vectors    U, W, v -> key, query, score    e_k -> scores    alpha_k -> weights
    s_t -> the first that Alignment returns

Axes: D width of the vectors, S width of the state.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class TextContext(NamedTuple):
    """An encoded caption: the vectors that may be attended to, and which of them are no padding."""

    vectors: Tensor  # (B, T, D)
    mask: Tensor  # (B, T) bool


class BidirectionalLSTM(nn.Module):
    """Each word's vector ``(B, T, 2 width)`` depends on the words before it and after it."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary + 1, width, padding_idx=0)
        self.lstm = nn.LSTM(width, width, bidirectional=True, batch_first=True)

    def forward(self, ids: Tensor, mask: Tensor) -> TextContext:
        """Words ``(B, T)`` int64 of captions that are not empty; padding comes last and is masked."""
        lengths = mask.sum(1).cpu()
        packed = pack_padded_sequence(self.token(ids), lengths, batch_first=True, enforce_sorted=False)
        vectors, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=ids.shape[1])
        return TextContext(vectors, mask)


class BagOfWords(nn.Module):
    """The sum of the words' vectors ``(B, 1, 2 width)``: the caption without its order.

    It is divided by the root of their number, so that its variance does not depend on the length.
    """

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary + 1, 2 * width, padding_idx=0)

    def forward(self, ids: Tensor, mask: Tensor) -> TextContext:
        """Words ``(B, T)`` int64, padding 0, of captions that are not empty."""
        total = self.token(ids).sum(1) / mask.sum(1, keepdim=True).sqrt()
        return TextContext(total[:, None], torch.ones_like(mask[:, :1]))


class Alignment(nn.Module):
    """Attention of a state ``(B, S)``: the words' weighted sum ``(B, D)`` and the weights ``(B, T)``."""

    def __init__(self, words: int, state: int, width: int) -> None:
        super().__init__()
        self.key = nn.Linear(words, width, bias=False)
        self.query = nn.Linear(state, width)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, context: TextContext, state: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.score((self.key(context.vectors) + self.query(state)[:, None]).tanh())[..., 0].float()
        weights = scores.masked_fill(~context.mask, -torch.inf).softmax(1)
        return (weights[:, None] @ context.vectors.float())[:, 0], weights
