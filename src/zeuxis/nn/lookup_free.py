"""Lookup-free quantisation (Yu et al. 2023, MAGVIT-v2: "Language Model Beats Diffusion", 2310.05737).

Symbols -> code: z -> z    q(z_i) = sign(z_i) -> bits    K = 2^d -> codes    d -> width    L_entropy -> entropies

Axes: N vectors, D bits of a code, K codes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from zeuxis.errors import UsageError
from zeuxis.nn.quantiser import Quantised, Quantiser, perplexity

MOST = 2**14  # codes; the entropy of their average is taken over every one of them for every vector


class LookupFree(Quantiser):
    """A code is the signs of log2 K numbers: the corners of a cube, which are neither looked up nor learnt.

    The loss is the commitment ``beta |z - sg[q(z)]|^2`` and ``entropy`` times the entropy penalty: a low entropy for
    each vector, and a high one for their average. The probabilities of the corners c are a softmax of
    -|z - c|^2 / ``temperature``.
    """

    corners: Tensor  # (K, D) in {-1, 1}

    def __init__(self, codes: int, *, beta: float = 0.25, entropy: float = 0.1, temperature: float = 1.0) -> None:
        super().__init__()
        if codes < 2 or codes & (codes - 1) or codes > MOST:
            raise UsageError(f"codes={codes}: lookup-free codes are signs: choose a power of two from 2 to {MOST}")
        self.beta, self.entropy, self.temperature = beta, entropy, temperature
        self.codes, self.width = codes, codes.bit_length() - 1
        self.register_buffer("corners", self._signs(torch.arange(codes)), persistent=False)

    def forward(self, z: Tensor) -> Quantised:
        z = z.float()
        bits = z.detach().movedim(1, -1) > 0  # (B, H, W, D)
        indices = (bits << torch.arange(self.width, device=z.device)).sum(-1)
        vectors = self.lookup(indices)  # q(z)
        per_vector, of_mean = self.entropies(z.movedim(1, -1).flatten(0, -2))
        loss = self.beta * F.mse_loss(z, vectors) + self.entropy * (per_vector - of_mean)
        return Quantised(z + (vectors - z).detach(), indices, loss, perplexity(indices, self.codes))

    def entropies(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """E[H(q(z))] and H(E[q(z)]) of vectors ``(N, D)``, nats: L_entropy is the first less the second.

        |z - c|^2 differs between corners by -2 z c only, so that the numbers of one vector are independent: its
        entropy is the sum of theirs. The average over vectors is not, and is taken over all K corners. Both are
        computed from logarithms: the slope of p log p at a p that has rounded to 0 is not finite.
        """
        odds = 4 / self.temperature * z  # (N, D): the logit of +1
        per_vector = (F.softplus(odds) - odds * odds.sigmoid()).sum(1).mean()
        with torch.autocast(z.device.type, enabled=False):
            each = (2 / self.temperature * z @ self.corners.t()).log_softmax(1)  # (N, K)
        mean = each.logsumexp(0) - math.log(len(z))  # (K,): the logarithm of the average
        return per_vector, -(mean.exp() * mean).sum()

    def lookup(self, indices: Tensor) -> Tensor:
        return self._signs(indices).movedim(-1, 1)

    def _signs(self, indices: Tensor) -> Tensor:
        """``(...)`` in [0, K) to ``(..., D)`` in {-1, 1}; the lowest bit first."""
        bits = indices[..., None] >> torch.arange(self.width, device=indices.device) & 1
        return 2.0 * bits - 1
