"""Finite scalar quantisation (Mentzer et al. 2023, "Finite Scalar Quantization: VQ-VAE Made Simple", 2309.15505).

Symbols -> code: z -> z    f -> bounded    L_i -> levels    d -> width    |C| = prod L_i -> codes

Axes: D numbers of a code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zeuxis.errors import UsageError
from zeuxis.nn.quantiser import Quantised, Quantiser, perplexity

MARGIN = 1e-3  # by which the bound falls short of the outermost levels, so that rounding never leaves them


class FiniteScalar(Quantiser):
    """Each number of a vector is bounded and rounded to one of its ``levels``; a code is the tuple of these.

    Nothing is learnt and nothing can die; there is no loss. A vector's numbers are in [-1, 1]. The first of
    ``levels`` is the lowest digit of an index.
    """

    levels: Tensor  # (D,) L_i
    radix: Tensor  # (D,) int64: what one step of each digit is worth in an index

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        if not levels or min(levels) < 2:
            raise UsageError(
                f"levels={tuple(levels)}: finite scalars need one number or more, each of 2 levels or more"
            )
        self.codes, self.width = math.prod(levels), len(levels)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        worth = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("radix", torch.tensor(worth), persistent=False)

    def forward(self, z: Tensor) -> Quantised:
        bounded = self.bounded(z.float().movedim(1, -1))  # (B, H, W, D)
        steps = bounded.detach().round()
        half = self.levels // 2
        indices = ((steps.long() + half) * self.radix).sum(-1)
        vectors = (bounded + (steps - bounded.detach())) / half  # straight through the rounding, not through f
        return Quantised(vectors.movedim(-1, 1), indices, bounded.new_zeros(()), perplexity(indices, self.codes))

    def bounded(self, z: Tensor) -> Tensor:
        """f: ``(..., D)`` of any size into the span of the levels, whose steps are whole numbers (appendix A.1).

        An even number of levels has no middle: its span is moved by half a step down, and its input by so much
        that 0 stays nearest to the level 0 (``tan`` as printed: from 4 levels on it is atanh to 1 in 1000).
        """
        half = (self.levels - 1) * (1 - MARGIN) / 2
        offset = 0.5 * (self.levels % 2 == 0)
        return (z + (offset / half).tan()).tanh() * half - offset

    def lookup(self, indices: Tensor) -> Tensor:
        half = self.levels // 2
        digits = indices[..., None] // self.radix % self.levels  # (B, H, W, D) in [0, L_i)
        return ((digits - half) / half).movedim(-1, 1)
