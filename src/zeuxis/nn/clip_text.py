"""CLIP's text tower (Radford et al. 2021, arXiv:2103.00020, section 2.4), as Stable Diffusion uses it too.

A causal transformer over byte-pair tokens; what stands at the token that ends a text is its vector. What is taken
of it differs from one model to the next::

    tower = ClipTextTower(**CLIP_TEXT["clip-l"])
    tower.hidden(ids)                          # (B, 77, 768)   Stable Diffusion 1.x: the last layer, normalised
    tower.hidden(ids, skip=1)                  # (B, 77, 1024)  2.x (OpenCLIP H): the penultimate layer, normalised
    states = tower(ids)
    states.layers[-2], states.projected        # XL: the penultimate layer as it is; bigG's projected vector (B, 1280)
    states.pooled                              # (B, D)         at the end of the text, normalised

A file whose last block was left out (2.x in the hub's layout has 23 of 24) is one with ``depth=23`` and ``skip=0``.
Ids come from :class:`zeuxis.nn.clip_tokeniser.ClipTokeniser`; weights from :mod:`zeuxis.pretrained.clip_keys`.
Padding is not masked, here as in the published models: it comes last, and the tower is causal.

Axes: D width, P width of the projection.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zeuxis.errors import UsageError
from zeuxis.nn.clip_block import ClipBlock

CLIP_TEXT: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "clip-b": {"width": 512, "depth": 12, "heads": 8, "projection": 512},
        "clip-l": {"width": 768, "depth": 12, "heads": 12, "projection": 768},
        "openclip-h": {"width": 1024, "depth": 24, "heads": 16, "projection": 1024, "activation": "gelu"},
        "openclip-bigg": {"width": 1280, "depth": 32, "heads": 20, "projection": 1280, "activation": "gelu"},
    }
)
"""Published towers, as keywords of :class:`ClipTextTower`. Stable Diffusion 1.x has "clip-l" and 2.x "openclip-h", both
without projection; XL has "clip-l" without and "openclip-bigg" with one."""


class TextStates(NamedTuple):
    """What a tower makes of a text."""

    layers: tuple[Tensor, ...]  # depth + 1 of (B, T, D): the embedded tokens, then what each block leaves, unnormalised
    final: Tensor  # (B, T, D): the last of them, normalised
    pooled: Tensor  # (B, D): of those, the one where the text ends
    projected: Tensor | None  # (B, P): its projection; None of a tower that has none


class ClipTextTower(nn.Module):
    """Token ids ``(B, T)`` int64, T at most ``length``, to :class:`TextStates`.

    Args:
        vocabulary: how many ids there are.
        length: of the window in tokens, those of begin and end included.
        width, depth, heads: of the transformer.
        hidden: width of its MLPs; None is four times ``width``.
        activation: of its MLPs, "quick-gelu" (OpenAI's) or "gelu" (OpenCLIP's).
        projection: P; None for a tower without projection.
        end: id of the token that ends a text, whose first occurrence is where it is pooled; None takes the largest id
            of each text, which is the same as long as no token was added to the vocabulary after the end.
        init_std: deviation of the tokens' initial vectors; places have half of it. At 0.02 what the first block adds
            drowns both, and it takes long until "A above B" means other than "B above A".
    """

    def __init__(
        self,
        *,
        vocabulary: int = 49408,
        length: int = 77,
        width: int = 512,
        depth: int = 12,
        heads: int = 8,
        hidden: int | None = None,
        activation: str = "quick-gelu",
        projection: int | None = None,
        end: int | None = None,
        init_std: float = 0.02,
    ) -> None:
        super().__init__()
        self.length, self.width, self.end = length, width, end
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.empty(length, width))
        self.blocks = nn.ModuleList(
            ClipBlock(width, heads, hidden or 4 * width, activation, causal=True) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.projection = None if projection is None else nn.Linear(width, projection, bias=False)
        self._initialise(depth, init_std)

    def _initialise(self, depth: int, init_std: float) -> None:
        nn.init.normal_(self.token.weight, std=init_std)
        nn.init.normal_(self.position, std=init_std / 2)
        for block in self.blocks:
            assert isinstance(block, ClipBlock)
            block.initialise(depth)
        if self.projection is not None:
            nn.init.normal_(self.projection.weight, std=self.width**-0.5)

    def forward(self, ids: Tensor) -> TextStates:
        x = self._embed(ids)
        layers = [x]
        for block in self.blocks:
            x = block(x)
            layers.append(x)
        final: Tensor = self.norm(x)
        pooled = final[torch.arange(len(ids), device=ids.device), self.ends(ids)]
        return TextStates(tuple(layers), final, pooled, None if self.projection is None else self.projection(pooled))

    def hidden(self, ids: Tensor, *, skip: int = 0, norm: bool = True) -> Tensor:
        """What all but the last ``skip`` blocks leave ``(B, T, D)``, and with ``norm`` the final layer norm of it.

        The blocks that are skipped are not computed.
        """
        if not 0 <= skip <= len(self.blocks):
            raise ValueError(f"skip={skip} of a text tower of {len(self.blocks)} blocks")
        x = self._embed(ids)
        for block in self.blocks[: len(self.blocks) - skip]:
            x = block(x)
        return self.norm(x) if norm else x

    def ends(self, ids: Tensor) -> Tensor:
        """Where each text ends, int64 ``(B,)``: see ``end``.

        Raises :class:`UsageError` where a text has no token of that id.
        """
        if self.end is None:
            return ids.argmax(1)
        found = ids == self.end
        if not found.any(1).all():
            raise UsageError(f"a text has no token {self.end}, which ends it: tokenise it with this tower's vocabulary")
        return found.int().argmax(1)

    def _embed(self, ids: Tensor) -> Tensor:
        if ids.shape[1] > self.length:
            raise UsageError(f"a text of {ids.shape[1]} tokens; the tower reads {self.length}: shorten it")
        x: Tensor = self.token(ids) + self.position[: ids.shape[1]]
        return x
