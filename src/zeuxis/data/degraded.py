"""Any source and its degraded pictures: pairs for restoration."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from torch import Tensor

from zeuxis.batch import Batch, Shape
from zeuxis.data.source import Source
from zeuxis.degrade.degradation import Chain
from zeuxis.rng import ImageRng, derive_seed


class DegradedSource:
    """``clean``'s pictures as images, the same degraded as ``source``; all else as ``clean`` has it.

    Where a degradation hides a part of the picture, ``mask`` says which.

    What is random about a degradation depends on the example alone, so that it is the same in every epoch.
    """

    def __init__(self, clean: Source, degradation: Chain) -> None:
        self.clean, self.degradation = clean, degradation
        self.name = f"{clean.name} | {degradation}"
        self.shape: Shape = clean.shape
        self.classes, self.class_names = clean.classes, clean.class_names
        self.layout_names, self.words, self.factors = clean.layout_names, clean.words, clean.factors
        self.provides = clean.provides | ({"source", "mask"} if degradation.masks else {"source"})
        self.skipped = clean.skipped
        self.buckets = clean.buckets

    def __len__(self) -> int:
        return len(self.clean)

    def at(self, epoch: int) -> DegradedSource:
        return DegradedSource(self.clean.at(epoch), self.degradation)

    def batch(self, index: Tensor) -> Batch:
        clean = self.clean.batch(index)
        rng = ImageRng([derive_seed(0, "degraded", example) for example in index.tolist()])
        worse, hidden = self.degradation.with_mask(clean.image, rng)
        mask = clean.condition.mask if hidden is None else hidden
        return Batch(clean.image, replace(clean.condition, source=worse, mask=mask), clean.index)

    def pixels(self, index: Tensor) -> Batch:
        return self.batch(index)

    def told(self, factors: Tensor) -> Tensor:
        return self.clean.told(factors)

    def fingerprint(self) -> str:
        """Of the clean pictures and the spelling of the degradation."""
        return hashlib.sha256(f"{self.clean.fingerprint()} {self.degradation}".encode()).hexdigest()[:16]
