"""Captions to what a latent diffusion model's U-Net reads of them: CLIP's tokeniser and text tower, and a layer of it.

Stable Diffusion 1.x reads the last layer, 2.x the last but one, both normalised; XL the last but one of two towers, as
it is, and the second's projected vector besides (:mod:`zeuxis.nn.clip_text`).

Words may be weighed, by AUTOMATIC1111's web UI's rule ("Original"): each token of the context is multiplied by its
weight, those of begin, end and padding by 1; then the whole by one number, so that the context's mean is as before. The
tower itself and its projected vector know of no weights.

Axes: E width of the context, P width of the projection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from zeuxis.errors import UsageError
from zeuxis.nn.clip_text import ClipTextTower
from zeuxis.nn.clip_tokeniser import END, ClipTokeniser, byte_vocabulary
from zeuxis.nn.prompt_syntax import PromptWeights, weighed

WeighedToken = tuple[int, float]  # an id, and how much it counts


class ClipReader(nn.Module):
    """One text tower: captions to a context ``(B, T, E)`` and, of a tower with projection, a vector ``(B, P)``.

    Of a caption longer than its window it reads the beginning, as public pipelines do; :meth:`cut` tells what it does
    not read.
    """

    def __init__(self, tokeniser: ClipTokeniser, tower: ClipTextTower, *, skip: int = 0, norm: bool = True) -> None:
        super().__init__()
        self.tokeniser, self.tower, self.skip, self.norm = tokeniser, tower, skip, norm

    @property
    def width(self) -> int:
        """E."""
        return self.tower.width

    @property
    def vector_width(self) -> int:
        """P; 0 of a tower without projection."""
        return 0 if self.tower.projection is None else self.tower.projection.out_features

    def forward(
        self, captions: Sequence[str], reading: PromptWeights = "none", skip: int = 0, windows: int = 1
    ) -> tuple[Tensor, Tensor | None]:
        """``reading`` says in which captions marks are weights (:mod:`zeuxis.nn.prompt_syntax`); the context goes
        without ``skip`` blocks more than it was made to. Of several ``windows`` each is read by itself, and their
        contexts lie one after another, (B, ``windows`` T, E); the vector is the first one's."""
        if (skipped := self.skip + skip) >= len(self.tower.blocks):
            raise UsageError(
                f"clip_skip {skip}: a text tower of {len(self.tower.blocks)} blocks, of which {self.skip} are left out "
                f"already, has none then: give at most {len(self.tower.blocks) - self.skip - 1}"
            )
        different = list(dict.fromkeys(captions))
        rows = [different.index(caption) for caption in captions]
        found = [self._weighed(caption, reading) for caption in different]
        starts = range(0, windows * self.longest, self.longest)
        read = [self._read([pieces[k : k + self.longest] for pieces in found], skipped) for k in starts]
        vector = read[0][1]
        return torch.cat([context for context, _ in read], 1)[rows], None if vector is None else vector[rows]

    def _read(self, texts: Sequence[Sequence[WeighedToken]], skipped: int) -> tuple[Tensor, Tensor | None]:
        """Context and vector of texts that fit into the window."""
        tokens = self.tokeniser.windows([[i for i, _ in pieces] for pieces in texts])
        weights = torch.ones(tokens.ids.shape)
        for row, pieces in zip(weights, texts, strict=True):
            row[1 : 1 + len(pieces)] = torch.tensor([weight for _, weight in pieces])
        ids = tokens.ids.to(self.tower.position.device)  # (B, T)
        if self.tower.projection is None:
            return weigh(self.tower.hidden(ids, skip=skipped, norm=self.norm), weights), None
        states = self.tower(ids)
        layer = states.layers[-1 - skipped]
        return weigh(self.tower.norm(layer) if self.norm else layer, weights), states.projected

    def _weighed(self, caption: str, reading: PromptWeights) -> list[WeighedToken]:
        """The tokens of a caption of any length, each with its weight."""
        return [(i, part.weight) for part in weighed(caption, reading) for i in self.tokeniser.pieces(part.text)]

    @property
    def longest(self) -> int:
        """How many tokens of a caption it reads."""
        return self.tokeniser.length - 2

    def cut(self, captions: Sequence[str], reading: PromptWeights = "none") -> tuple[str, ...]:
        """What of each caption is beyond the window, in the tokeniser's spelling; "" where it fits."""
        return self.tokeniser.windows([[i for i, _ in self._weighed(one, reading)] for one in captions]).cut

    def needed(self, captions: Sequence[str], reading: PromptWeights = "none") -> int:
        """How many windows hold all of the longest of the captions, 1 at least."""
        return max(1, *(math.ceil(len(self._weighed(one, reading)) / self.longest) for one in captions))


def weigh(context: Tensor, weights: Tensor) -> Tensor:
    """``context`` (B, T, E), each token times its weight (B, T), and its mean as it was.

    A mean may be next to nothing, as it often is in XL, or weights may turn its sign: what would restore it then is any
    number. Where it is further than twofold from what restores the mean absolute value, the latter is taken.
    """
    plain = (weights == 1).all(1)
    if plain.all():
        return context
    before = context.float()
    after = before * weights.to(before)[:, :, None]
    by_mean = before.mean((1, 2)) / after.mean((1, 2))
    by_size = before.abs().mean((1, 2)) / after.abs().mean((1, 2))
    near = (by_mean > by_size / 2) & (by_mean < by_size * 2)
    restored = after * torch.where(near, by_mean, by_size)[:, None, None]
    return torch.where(plain.to(context.device)[:, None, None], context, restored.to(context.dtype))


def clip_reader(
    *,
    tokens: Mapping[str, int] | None = None,
    merges: Sequence[str] = (),
    pad: str = END,
    added: Sequence[str] = (),
    vocabulary: int = 0,
    length: int = 77,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    hidden: int | None = None,
    activation: str = "quick-gelu",
    projection: int | None = None,
    end: int | None = None,
    skip: int = 0,
    norm: bool = True,
) -> ClipReader:
    """A tower as one table of ``[model.text]`` describes it; without ``tokens`` these are single bytes.

    Args:
        tokens: the id of every token.
        merges: pairs of tokens that become one, "a b", the first ones first.
        pad: the token that fills the window.
        added: tokens that were learnt later, and stand for themselves in a text (textual inversion).
        vocabulary: how many ids the tower knows, at least as many as there are tokens; 0 is as many.
        length: of the window in tokens, those of begin and end included.
        width, depth, heads: of the transformer.
        hidden: width of its MLPs; none is four times the width.
        activation: of its MLPs: "quick-gelu" or "gelu".
        projection: width of the vector that its end is projected to; none is without one.
        end: id of the token at which it is pooled; none is the largest of a text.
        skip: how many of its last blocks the context goes without.
        norm: whether the context goes through the last layer norm.
    """
    known = dict(tokens) if tokens is not None else byte_vocabulary()
    pairs = []
    for merge in merges:
        first, _, second = merge.partition(" ")
        pairs.append((first, second))
    tokeniser = ClipTokeniser(known, pairs, length=length, pad=pad, added=added)
    tower = ClipTextTower(
        vocabulary=vocabulary or max(known.values()) + 1,
        length=length,
        width=width,
        depth=depth,
        heads=heads,
        hidden=hidden,
        activation=activation,
        projection=projection,
        end=end,
    )
    return ClipReader(tokeniser, tower, skip=skip, norm=norm)
