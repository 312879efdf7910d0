"""The interface of quantisers: a map of vectors becomes a map of indices, and is decoded from it.

Behind this seam stand a codebook (``vector_quantiser``), finite scalars (``finite_scalar``) and signs
(``lookup_free``); ``quantisers`` builds one by name.

Axes: D width of a code, K codes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from zeuxis.rng import Rng


class Quantised(NamedTuple):
    """What a :class:`Quantiser` makes of a map of vectors."""

    vectors: Tensor  # (B, D, H, W): the codes, through which gradients pass to the input
    indices: Tensor  # (B, H, W) int64 in [0, K)
    loss: Tensor  # scalar: the quantiser's own loss, to be added to the method's
    perplexity: Tensor  # scalar in [1, K]: how many codes this batch uses, evenly counted


class Quantiser(nn.Module, ABC):
    """``(B, D, H, W)`` to :class:`Quantised`, and back by :meth:`lookup`. ``forward`` changes nothing."""

    codes: int  # K
    width: int  # D, which fsq and lfq derive from their codes

    @abstractmethod
    def forward(self, z: Tensor) -> Quantised:
        """Quantise ``z`` ``(B, D, H, W)``."""

    @abstractmethod
    def lookup(self, indices: Tensor) -> Tensor:
        """The codes ``(B, D, H, W)`` of indices ``(B, H, W)``."""

    def update(self, z: Tensor, indices: Tensor, rng: Rng, *, first: bool) -> int:
        """Updates without a gradient after a round in which ``z`` was quantised to ``indices``.

        ``first`` is true after the first round. Returns how many dead codes were restarted: none where codes
        stay where they are.
        """
        return 0


def perplexity(indices: Tensor, codes: int) -> Tensor:
    """exp of the entropy of how often each of ``codes`` codes occurs: a scalar in [1, K]."""
    share = torch.bincount(indices.flatten(), minlength=codes) / indices.numel()
    return torch.special.entr(share).sum().exp()
