"""A part of the training pictures, of a stated number: what a training of few pictures is studied on."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.data.ragged import Bucket
from zeuxis.data.source import Source
from zeuxis.data.varied import VariedSource
from zeuxis.errors import UsageError
from zeuxis.rng import Stream


def subset(source: Source, n: int | None) -> Source:
    """``n`` of the examples of ``source``, drawn once and for all; itself where ``n`` is None.

    Raises UsageError where there are not so many, and for two collections: partners are drawn from the whole of either.
    """
    return source if n is None else SubsetSource(source, n)


class SubsetSource(VariedSource):
    """``n`` examples of ``clean``: the first of one order of them all, so that a smaller part lies in a larger."""

    def __init__(self, clean: Source, n: int) -> None:
        if not 1 <= n <= len(clean):
            raise UsageError(f"subset {n:,}: '{clean.name}' holds {len(clean):,} pictures to train on: give fewer")
        if not clean.paired:
            raise UsageError(
                f"subset {n:,}: '{clean.name}' are two collections without pairs, of each of which a part would be "
                "wanted: leave subset out, and fewer pictures in the folders"
            )
        super().__init__(clean)
        self.chosen = Stream(0, "subset", len(clean)).permutation(len(clean))[:n].sort().values  # (n,)
        self.remarks = (*clean.remarks, f"{n:,} of {len(clean):,} pictures are trained on")
        self.buckets = tuple(found for one in clean.buckets if len((found := self._of(one)).members))

    def _of(self, bucket: Bucket) -> Bucket:
        """What of a bucket is chosen, numbered as here."""
        return replace(bucket, members=torch.isin(self.chosen, bucket.members).nonzero().squeeze(1))

    def __len__(self) -> int:
        return len(self.chosen)

    def labels(self) -> Tensor | None:
        known = self.clean.labels()
        return None if known is None else known[self.chosen]

    def told(self, batch: Batch) -> tuple[str, ...] | None:
        index = None if batch.index is None else self.chosen[batch.index.cpu()]
        return super().told(replace(batch, index=index))

    def batch(self, index: Tensor) -> Batch:
        return replace(self.clean.batch(self.chosen[index]), index=index.clone())

    def pixels(self, index: Tensor) -> Batch:
        return replace(self.clean.pixels(self.chosen[index]), index=index.clone())
