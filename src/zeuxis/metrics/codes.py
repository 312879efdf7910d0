"""How much of a codebook is used, counted a chunk at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from zeuxis.errors import UsageError


class CodeUsage:
    """How often each of ``codes`` codes occurs in the pictures that were added; its length is their number."""

    def __init__(self, codes: int) -> None:
        self.counts = torch.zeros(codes, dtype=torch.int64)
        self.pictures = 0

    def __len__(self) -> int:
        return self.pictures

    def add(self, latent: Tensor) -> None:
        """Count the codes of encoded pictures, int64 ``(B, ...)`` in [0, codes)."""
        low, high = int(latent.min()), int(latent.max())
        if low < 0 or high >= len(self.counts):
            raise UsageError(f"codes from {low} to {high} are outside a codebook of {len(self.counts)}")
        self.counts += torch.bincount(latent.flatten(), minlength=len(self.counts)).to(self.counts.device)
        self.pictures += len(latent)

    @property
    def used(self) -> float:
        """The share of the codebook that occurs at all, in [0, 1]."""
        return int((self.counts > 0).sum()) / len(self.counts)
