"""Any source and its degraded pictures: pairs for restoration."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.data.source import Source
from zeuxis.degrade.degradation import Chain
from zeuxis.rng import ImageRng, Stream, derive_seed
from zeuxis.spec import Shape


class DegradedSource(Source):
    """``clean``'s pictures as images, the same degraded as ``source``; all else as ``clean`` has it.

    Where a degradation hides a part of the picture, ``mask`` says which.

    What is random about a degradation depends on the example alone, so that it is the same in every epoch.
    """

    def __init__(self, clean: Source, degradation: Chain) -> None:
        self.clean, self.degradation = clean, degradation
        self.name = f"{clean.name} | {degradation}"
        worse, hidden = degradation.with_mask(torch.zeros(1, *clean.spec.shape), Stream(0, "degraded"))
        added = {"source"} if hidden is None else {"source", "mask"}
        self.spec = replace(clean.spec, source_shape=Shape(*worse.shape[1:]), provides=clean.spec.provides | added)
        self.skipped = clean.skipped
        self.buckets = clean.buckets

    def __len__(self) -> int:
        return len(self.clean)

    def at(self, epoch: int) -> Self:
        cut = copy.copy(self)
        cut.clean = self.clean.at(epoch)
        return cut

    def batch(self, index: Tensor) -> Batch:
        clean = self.clean.batch(index)
        rng = ImageRng([derive_seed(0, "degraded", example) for example in index.tolist()])
        worse, hidden = self.degradation.with_mask(clean.image, rng)
        mask = clean.condition.mask if hidden is None else hidden
        return Batch(clean.image, replace(clean.condition, source=worse, mask=mask), clean.index)

    def stated_factors(self, factors: Tensor) -> Tensor:
        return self.clean.stated_factors(factors)

    def fingerprint(self) -> str:
        """Of the clean pictures and the spelling of the degradation."""
        return hashlib.sha256(f"{self.clean.fingerprint()} {self.degradation}".encode()).hexdigest()[:16]
