"""Words in, vectors out: a closed vocabulary and a small transformer that encodes captions.

Legend: B captions, T words, D width, C channels, S side of the sketch.

Axes: D width, S rows and columns of a sketch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zeuxis.errors import UnknownName, UsageError
from zeuxis.nn.attention import CrossAttention, SelfAttention
from zeuxis.nn.embed import pos_embed
from zeuxis.nn.mlp import mlp, modulate
from zeuxis.nn.words import in_lower_case, words_of

PAD = 0


class WordTokeniser:
    """A closed vocabulary: word i of ``words`` has id i + 1, and 0 is padding.

    Case and punctuation are ignored, as :func:`zeuxis.nn.words.words_of` does.
    """

    def __init__(self, words: Sequence[str], length: int) -> None:
        self.words = tuple(dict.fromkeys(in_lower_case(w) for w in words))
        self.length = length  # the longest caption, in words
        self._id = {word: i for i, word in enumerate(self.words, 1)}

    def __len__(self) -> int:
        """How many words there are, without padding."""
        return len(self.words)

    def encode(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids ``(B, T)`` int64 and the mask ``(B, T)`` bool, true for words; T is ``length``.

        Raises :class:`UnknownName` for a word outside the vocabulary, and :class:`UsageError` for a
        caption of more than T words. An empty caption gives an all-false mask.
        """
        ids = torch.full((len(captions), self.length), PAD)
        for row, caption in zip(ids, captions, strict=True):
            found = words_of(caption)
            if len(found) > self.length:
                raise UsageError(f"caption of {len(found)} words; the model reads {self.length}: shorten '{caption}'")
            for i, word in enumerate(found):
                if word not in self._id:
                    raise UnknownName("word", word, self.words, f"(in the caption '{caption}')")
                row[i] = self._id[word]
        return ids, ids != PAD


class TextTower(nn.Module):
    """A bidirectional pre-norm transformer over word ids: ``(B, T)`` ids and mask to ``(B, T, width)`` and mask.

    ``vocabulary`` counts words without padding (``len(tokeniser)``). An empty caption (all-false mask) is
    the null condition of classifier-free guidance: it is read as one learned null token, so the mask that
    comes back is never all false. To drop captions in training, clear their rows of the mask.
    """

    def __init__(self, vocabulary: int, length: int, width: int = 128, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.width = width
        self.null = vocabulary + 1
        self.token = nn.Embedding(vocabulary + 2, width)
        self.position = nn.Parameter(torch.empty(length, width))
        # Words, their places and what each block adds start about equally large. With GPT's 0.02 the first block's
        # output drowns both; with small places it is long before "A above B" means other than "B above A".
        nn.init.normal_(self.position)
        self.blocks = nn.ModuleList(TextBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        empty = torch.zeros_like(mask)
        empty[:, 0] = ~mask.any(1)
        ids, mask = ids.masked_fill(empty, self.null), mask | empty
        x = self.token(ids) + self.position  # (B, T, D)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x), mask


class Sketch(nn.Module):
    """A caption's coarse picture: words ``(B, T, D)`` and their sum ``(B, D)`` to ``(B, C, S, S)``.

    Every place of the grid attends to the words; the sum modulates how, so that "above" can turn the upper half to
    the first thing named and "below" to the second.
    """

    pos_embed: Tensor  # (S^2, D)

    def __init__(self, width: int, channels: int, side: int, heads: int = 4) -> None:
        super().__init__()
        self.side = side
        self.register_buffer("pos_embed", pos_embed(side, side, width), persistent=False)
        self.norm1 = nn.LayerNorm(width)
        self.turn = nn.Linear(width, 2 * width)
        self.cross_attention = CrossAttention(width, width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = mlp(width)
        self.out = nn.Linear(width, channels)
        nn.init.zeros_(self.out.weight)  # a first random picture would be worse than grey by far
        nn.init.zeros_(self.out.bias)

    def forward(self, text: Tensor, mask: Tensor, total: Tensor) -> Tensor:
        shift, scale = self.turn(total)[:, None].chunk(2, -1)  # each (B, 1, D)
        x = self.pos_embed.expand(len(text), -1, -1)  # (B, S^2, D)
        x = x + self.cross_attention(modulate(self.norm1(x), shift, scale), text, mask)
        x = x + self.mlp(self.norm2(x))
        picture: Tensor = self.out(x).transpose(1, 2).unflatten(2, (self.side, self.side))
        return picture


class TextBlock(nn.Module):
    """Attention and a four-fold MLP, each after a layer norm and around a residual: ``(B, T, D)`` to the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = mlp(width)
        for layer, inputs in ((self.attention.out, width), (self.mlp[-1], 4 * width)):
            nn.init.normal_(layer.get_parameter("weight"), std=inputs**-0.5)
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))
