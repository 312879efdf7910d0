"""Two collections without correspondence: the task of CycleGAN and its kin."""

from __future__ import annotations

import hashlib

from torch import Tensor

from zeuxis import rng
from zeuxis.batch import Batch, Condition
from zeuxis.data.ragged import Bucket
from zeuxis.data.source import ArraySource, Outspoken, Skipped
from zeuxis.errors import UsageError


class UnpairedSource(Outspoken):
    """Pictures of ``target`` as images, each beside some picture of ``origin`` as source.

    An epoch is as long as the larger collection, so that all of both is met. Which two meet is drawn
    once and says nothing; what each side's own captions or labels say is left out.
    """

    def __init__(self, name: str, target: ArraySource, origin: ArraySource) -> None:
        if target.buckets or origin.buckets:
            raise UsageError(f"'{name}': unpaired pictures that meet have one shape: use --fit crop instead of buckets")
        self.name = name
        self.target, self.origin = target, origin
        self.shape = target.shape
        self.classes = 0
        self.class_names: tuple[str, ...] = ()
        self.layout_names: tuple[str, ...] = ()
        self.words: tuple[str, ...] = ()
        self.factors: tuple[tuple[str, int], ...] = ()
        self.provides = frozenset({"source"})
        self.buckets: tuple[Bucket, ...] = ()
        self.skipped: tuple[Skipped, ...] = (*target.skipped, *origin.skipped)
        self._meeting = rng.Stream(0, "unpaired", len(self)).permutation(len(self))

    def __len__(self) -> int:
        return max(len(self.target), len(self.origin))

    def at(self, epoch: int) -> UnpairedSource:
        return UnpairedSource(self.name, self.target.at(epoch), self.origin.at(epoch))

    def batch(self, index: Tensor) -> Batch:
        return self.pixels(index).floats()

    def pixels(self, index: Tensor) -> Batch:
        image = self.target.pixels(index % len(self.target)).image
        source = self.origin.pixels(self._meeting[index] % len(self.origin)).image
        return Batch(image, Condition(source=source), index.clone())

    def fingerprint(self) -> str:
        """Of both collections together."""
        both = f"{self.target.fingerprint()} {self.origin.fingerprint()}"
        return hashlib.sha256(both.encode()).hexdigest()[:16]
