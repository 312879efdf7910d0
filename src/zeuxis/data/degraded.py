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

    In training the images are what the degradation has as its targets: sharpened ones, of `blind`.
    Where a degradation hides a part of the picture, ``mask`` says which.

    What is random about a degradation follows from the split, the epoch and the example: training meets a new
    damage in every epoch, held-out examples keep theirs, and no two splits share any.
    """

    def __init__(self, clean: Source, degradation: Chain, split: str = "train") -> None:
        self.clean, self.degradation, self.split = clean, degradation, split
        self.epoch = 0
        self.name = f"{clean.name} | {degradation}"
        worse, hidden = degradation.with_mask(torch.zeros(1, *clean.spec.shape), Stream(0, "degraded"))
        added = {"source"} if hidden is None else {"source", "mask"}
        self.spec = replace(clean.spec, source_shape=Shape(*worse.shape[1:]), provides=clean.spec.provides | added)
        self.skipped, self.ignored, self.remarks = clean.skipped, clean.ignored, clean.remarks
        if "source" in clean.spec.provides:
            instead = f"'{degradation}' makes others of the pictures"
            self.remarks = (*clean.remarks, f"the sources that '{clean.name}' holds are not used: {instead}")
        self.buckets = clean.buckets

    def __len__(self) -> int:
        return len(self.clean)

    def labels(self) -> Tensor | None:
        return self.clean.labels()

    def at(self, epoch: int) -> Self:
        cut = copy.copy(self)
        cut.clean = self.clean.at(epoch)
        cut.epoch = epoch if self.split == "train" else 0
        return cut

    def batch(self, index: Tensor) -> Batch:
        clean = self.clean.batch(index)
        worse, hidden = self.degraded(clean.image, index)
        mask = clean.condition.mask if hidden is None else hidden
        image = self.degradation.target(clean.image) if self.split == "train" else clean.image
        return Batch(image, replace(clean.condition, source=worse, mask=mask), clean.index)

    def degraded(self, image: Tensor, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pictures degraded as those of that ``index`` (B,) are, and what is hidden of them, if anything is."""
        rng = ImageRng([derive_seed(0, "degraded", self.split, self.epoch, example) for example in index.tolist()])
        return self.degradation.with_mask(image, rng)

    def longest_caption(self) -> str:
        return self.clean.longest_caption()

    def stated_factors(self, factors: Tensor) -> Tensor:
        return self.clean.stated_factors(factors)

    def fingerprint(self) -> str:
        """Of the clean pictures, the spelling of the degradation and the rule by which its seeds are made."""
        facts = (self.clean.fingerprint(), str(self.degradation), self.split)
        return f"2-{hashlib.sha256(ascii(facts).encode()).hexdigest()[:16]}"

    def earlier_fingerprint(self) -> str:
        """Of the clean pictures and the spelling of the degradation."""
        return hashlib.sha256(f"{self.clean.earlier_fingerprint()} {self.degradation}".encode()).hexdigest()[:16]
