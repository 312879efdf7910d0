"""The codebook of VQ-VAE (van den Oord et al. 2017, 1711.00937) and of everything built on it.

Axes: N vectors, D width of a code, K codes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.errors import UsageError
from zeuxis.nn.quantiser import Quantised, Quantiser, perplexity
from zeuxis.rng import Rng


class VectorQuantiser(Quantiser):
    """Replace each vector of ``(B, D, H, W)`` by the nearest of K codes.

    The codebook learns by gradient (Eq. 3) or, with ``ema``, as a moving average of the vectors it is
    chosen for (Appendix A.1): then it is a buffer, and the loss is the commitment alone. ``beta`` weighs the
    commitment ``|z - sg[e]|^2``, as in the paper; much public code weighs the other term.

    ``forward`` changes nothing: :meth:`update`, after each round, counts the uses of the codes and moves the
    average; with ``kmeans`` it begins at the k-means of the first batch (a code never chosen never learns), unless it
    was learnt before, and the training starts from its model; and it restarts codes that are chosen less than
    ``restart_dead`` times a batch, on average, at vectors of the batch. Both go with either way of learning.
    """

    codebook: Tensor  # (K, D)
    uses: Tensor  # (K,) moving average of how often each code was chosen in a batch
    sums: Tensor  # (K, D) moving average of the sum of the vectors it was chosen for

    def __init__(
        self,
        codes: int,
        width: int,
        *,
        beta: float = 0.25,
        ema: bool = False,
        decay: float = 0.99,
        kmeans: bool = False,
        restart_dead: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= restart_dead < 1:
            raise UsageError(
                f"restart_dead={restart_dead}: a restarted code counts as used once a batch: choose from 0 (never) to 1"
            )
        self.codes, self.width = codes, width
        self.beta, self.ema, self.decay = beta, ema, decay
        self.kmeans, self.restart_dead = kmeans, restart_dead
        start = torch.empty(codes, width).uniform_(-1 / codes, 1 / codes)
        if ema:
            self.register_buffer("codebook", start)
            self.register_buffer("sums", start.clone())
        else:
            self.codebook = nn.Parameter(start)
        self.register_buffer("uses", torch.ones(codes))

    def forward(self, z: Tensor) -> Quantised:
        flat = self._flat(z)  # (N, D)
        with torch.no_grad(), torch.autocast(z.device.type, enabled=False):
            e = self.codebook.float()
            distances = e.square().sum(1) - 2 * flat.float() @ e.t()  # (N, K), up to |z|^2
            chosen = distances.argmin(1)
        indices = chosen.view(len(z), *z.shape[2:])
        vectors = self.lookup(indices)  # (B, D, H, W)
        loss = self.beta * F.mse_loss(z.float(), vectors.detach())
        if not self.ema:
            loss = loss + F.mse_loss(vectors, z.detach().float())  # Eq. 3, second term
        return Quantised(z + (vectors - z).detach(), indices, loss, perplexity(indices, self.codes))

    def lookup(self, indices: Tensor) -> Tensor:
        return F.embedding(indices, self.codebook).movedim(-1, 1)

    def update(self, z: Tensor, indices: Tensor, rng: Rng, *, first: bool) -> int:
        if first and self.kmeans and not self.learnt:
            self.start(z, rng)
            return 0
        self.learn(z, indices)
        return self.restart(z, rng, self.restart_dead)

    @property
    def learnt(self) -> bool:
        """Whether the uses of its codes were ever counted: then a decoder knows these codes, and they must stay."""
        return bool((self.uses != 1).any())

    @torch.no_grad()
    def learn(self, z: Tensor, indices: Tensor) -> None:
        """Count the uses of a batch ``z`` ``(B, D, H, W)``; with ``ema``, move the codebook (Eqs. 6-8)."""
        chosen = indices.flatten()
        self.uses.lerp_(torch.bincount(chosen, minlength=len(self.uses)).to(self.uses), 1 - self.decay)
        if self.ema:
            sums = torch.zeros_like(self.sums).index_add_(0, chosen, self._flat(z).to(self.sums))
            self.sums.lerp_(sums, 1 - self.decay)
            used = self.uses[:, None] > 1e-5  # a code long unused stays where it is
            self.codebook.copy_(torch.where(used, self.sums / self.uses[:, None], self.codebook))

    @torch.no_grad()
    def restart(self, z: Tensor, rng: Rng, below: float = 0.1) -> int:
        """Move every code used less than ``below`` times a batch onto a random vector of ``z``; how many there were."""
        dead = (self.uses < below).nonzero().flatten()
        if len(dead):
            flat = self._flat(z)
            self._set(dead, flat[rng.integers(len(flat), len(dead), device=z.device)])
        return len(dead)

    @torch.no_grad()
    def start(self, z: Tensor, rng: Rng, rounds: int = 10) -> None:
        """Begin at the k-means of ``z`` ``(B, D, H, W)``: ``rounds`` of Lloyd's iteration from random vectors of it.

        Raises :class:`UsageError` if ``z`` holds fewer vectors than there are codes.
        """
        flat, codes = self._flat(z).float(), len(self.codebook)
        if len(flat) < codes:
            raise UsageError(f"a k-means start of {codes} codes needs as many vectors, not {len(flat)}: enlarge batch")
        centres = flat[rng.uniform(len(flat), device=z.device).argsort()[:codes]]
        for _ in range(rounds):
            nearest = torch.cdist(flat, centres).argmin(1)
            sums = torch.zeros_like(centres).index_add_(0, nearest, flat)
            sizes = torch.bincount(nearest, minlength=codes)[:, None]
            centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)
        self._set(torch.arange(codes, device=z.device), centres)

    def _set(self, which: Tensor, vectors: Tensor) -> None:
        """Set codes to vectors, each as if it had just been used once."""
        self.codebook[which] = vectors.to(self.codebook)
        self.uses[which] = 1.0
        if self.ema:
            self.sums[which] = vectors.to(self.sums)

    @staticmethod
    def _flat(z: Tensor) -> Tensor:
        """``(B, D, H, W)`` to ``(B H W, D)``."""
        return z.detach().movedim(1, -1).flatten(0, -2)
