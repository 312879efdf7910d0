"""What a training shows of data otherwise than they are, or not at all: the data stay those they were."""

from __future__ import annotations

import copy
from typing import Self

from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.data.source import Source


class VariedSource(Source):
    """``clean``'s examples as a training has them. A subclass says which, and how; the fingerprints are ``clean``'s."""

    def __init__(self, clean: Source) -> None:
        self.clean = clean
        self.name, self.spec, self.paired, self.sides = clean.name, clean.spec, clean.paired, clean.sides
        self.skipped, self.ignored, self.remarks = clean.skipped, clean.ignored, clean.remarks
        self.buckets = clean.buckets

    def __len__(self) -> int:
        return len(self.clean)

    def at(self, epoch: int) -> Self:
        cut = copy.copy(self)
        cut.clean = self.clean.at(epoch)
        return cut

    def longest_caption(self) -> str:
        return self.clean.longest_caption()

    def collections(self) -> tuple[Source, Source] | None:
        return self.clean.collections()

    def labels(self) -> Tensor | None:
        return self.clean.labels()

    def told(self, batch: Batch) -> tuple[str, ...] | None:
        return self.clean.told(batch)

    def stated_factors(self, factors: Tensor) -> Tensor:
        return self.clean.stated_factors(factors)

    def fingerprint(self) -> str:
        return self.clean.fingerprint()

    def earlier_fingerprint(self) -> str:
        return self.clean.earlier_fingerprint()
