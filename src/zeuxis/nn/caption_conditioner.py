"""Captions as conditioning: a tokeniser, a text encoder, and what a network makes of them.

Both are given: any that keep to :class:`WordTokeniser` and :class:`TextEncoder` will do, trained here or elsewhere.

Legend: B images, T words, D width of the network's vector, E width of the context, S side of the sketch.

Axes: E width of the text, S rows and columns of a sketch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from zeuxis.batch import Condition
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.nn.conditioner import Conditioner, Conditioning
from zeuxis.nn.text import Sketch, TextTower, WordTokeniser

TEXT = {"width": 128, "depth": 2, "heads": 4, "length": 16, "sketch": 0}
"""The keys of ``[model.text]`` and their defaults.

Args:
    width: channels of a word's vector, a multiple of ``heads``.
    depth: transformer blocks of the text encoder.
    heads: of each attention of the text encoder.
    length: of the longest caption in words; longer ones are refused.
    sketch: side of a coarse picture that is drawn from the words alone and that the network is given beside the
        noisy one; 0 for none. Where things go is decided at noise levels at which pictures hold almost nothing, so
        a short training hardly learns it from them; the sketch learns it at every level.
"""


class CaptionTokeniser(Protocol):
    """Captions to ids ``(B, T)`` and their mask ``(B, T)`` bool."""

    def encode(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]: ...


class TextEncoder(Protocol):
    """Ids and mask ``(B, T)`` to vectors ``(B, T, E)`` and the mask of those to attend to, at least one a row.

    An all-false row is the caption of nothing, of which the null conditioning is made.
    """

    width: int  # E

    def __call__(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]: ...


class CaptionConditioner(Conditioner):
    """The words' vectors are the context, their sum, mapped, is the vector.

    With a sketch it also draws, from the words alone, a coarse picture ``sketch`` (B, C, S, S) that the network may
    be shown beside the noisy one.
    """

    fields = frozenset({"caption"})

    def __init__(
        self, tokeniser: CaptionTokeniser, encoder: TextEncoder, vector: int, sketch: Sketch | None = None
    ) -> None:
        super().__init__()
        self.tokeniser, self.tower = tokeniser, encoder
        self.pool = nn.Linear(encoder.width, vector)
        self.sketch = sketch

    def forward(self, condition: Condition, n: int, drop: Tensor | None = None) -> Conditioning:
        self.check(condition)
        assert condition.caption is not None
        ids, mask = (x.to(self.pool.weight.device) for x in self.tokeniser.encode(condition.caption))  # (B, T)
        return self._read(ids, mask if drop is None else mask & ~drop[:, None])

    def null(self, n: int) -> Conditioning:
        ids, mask = (x.to(self.pool.weight.device) for x in self.tokeniser.encode([""] * n))
        return self._read(ids, mask)

    def _read(self, ids: Tensor, mask: Tensor) -> Conditioning:
        context, mask = self.tower(ids, mask)  # (B, T, E)
        # Over the root of the number of words the sum keeps its size; in a mean of eleven each word would be faint.
        weight = mask.to(context.dtype)[..., None]
        total = (context * weight).sum(1) / weight.sum(1).sqrt()  # (B, E)
        made = {"vector": self.pool(total), "context": context, "context_mask": mask}
        return made if self.sketch is None else {**made, "sketch": self.sketch(context, mask, total)}


def text_options(table: Mapping[str, Any] | None) -> dict[str, int]:
    """``[model.text]`` with the defaults of :data:`TEXT`. Raises :class:`UnknownName`."""
    if not isinstance(table or {}, Mapping):
        raise UsageError(f"model.text is a table, not '{table}': write model.text.width = 128, for one")
    for key in table or {}:
        if key not in TEXT:
            raise UnknownName("key of [model.text]:", key, TEXT)
    return {**TEXT, **(table or {})}


def caption_conditioner(words: Sequence[str], text: Mapping[str, int], vector: int, channels: int) -> Conditioner:
    """A closed vocabulary and a small transformer, trained with the network; ``text`` from :func:`text_options`."""
    if not words:
        raise Unsupported("condition 'caption' needs data with captions: use captioned data, or condition 'none'")
    tokeniser = WordTokeniser(words, text["length"])
    encoder = TextTower(len(tokeniser), text["length"], text["width"], text["depth"], text["heads"])
    sketch = Sketch(text["width"], channels, text["sketch"], text["heads"]) if text["sketch"] else None
    return CaptionConditioner(tokeniser, encoder, vector, sketch)
