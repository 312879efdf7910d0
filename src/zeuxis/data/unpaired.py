"""Two collections without correspondence: the task of CycleGAN and its kin."""

from __future__ import annotations

import copy
import hashlib
from typing import Self

from torch import Tensor

from zeuxis import rng
from zeuxis.batch import Batch, Condition
from zeuxis.data.source import Source
from zeuxis.errors import UsageError
from zeuxis.spec import DataSpec


class UnpairedSource(Source):
    """Pictures of ``target`` as images, each beside some picture of ``origin`` as source.

    An epoch is as long as the larger collection, so that all of both is met. Which two lie in one example means
    nothing, and is drawn anew in every epoch; each side's own captions and labels are left out.
    """

    paired = False

    def __init__(self, name: str, target: Source, origin: Source) -> None:
        if target.buckets or origin.buckets:
            raise UsageError(f"'{name}': unpaired pictures have one shape: use --fit crop instead of buckets")
        self.name = name
        self.target, self.origin = target, origin
        self.spec = DataSpec(target.spec.shape, source_shape=origin.spec.shape, provides=frozenset({"source"}))
        self.skipped = (*target.skipped, *origin.skipped)
        self.ignored = tuple(dict.fromkeys((*target.ignored, *origin.ignored)))
        self.remarks = tuple(dict.fromkeys((*target.remarks, *origin.remarks)))
        self._partner = self._partners(0)

    def __len__(self) -> int:
        return max(len(self.target), len(self.origin))

    def _partners(self, epoch: int) -> Tensor:
        """For every picture of ``target`` the number of the other one, ``(N,)``."""
        names = ("unpaired", len(self)) if epoch == 0 else ("unpaired", len(self), epoch)
        return rng.Stream(0, *names).permutation(len(self))

    def at(self, epoch: int) -> Self:
        cut = copy.copy(self)
        cut._partner = self._partners(epoch)
        cut.target, cut.origin = self.target.at(epoch), self.origin.at(epoch)
        return cut

    def batch(self, index: Tensor) -> Batch:
        return self.pixels(index).floats()

    def pixels(self, index: Tensor) -> Batch:
        image = self.target.pixels(index % len(self.target)).image
        source = self.origin.pixels(self._partner[index] % len(self.origin)).image
        return Batch(image, Condition(source=source), index.clone())

    def collections(self) -> tuple[Source, Source]:
        return self.origin, self.target

    def fingerprint(self) -> str:
        """Of both collections together."""
        facts = (self.target.fingerprint(), self.origin.fingerprint())
        return f"2-{hashlib.sha256(ascii(facts).encode()).hexdigest()[:16]}"

    def earlier_fingerprint(self) -> str:
        both = f"{self.target.earlier_fingerprint()} {self.origin.earlier_fingerprint()}"
        return hashlib.sha256(both.encode()).hexdigest()[:16]
