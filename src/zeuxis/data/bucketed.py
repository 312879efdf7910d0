"""The order in which pictures of several shapes are met: every batch from one bucket."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from zeuxis import rng
from zeuxis.batch import Batch, joined
from zeuxis.data.batches import Batches, rows_of
from zeuxis.data.source import Source
from zeuxis.errors import DataError


class BucketBatches:
    """Full batches without end, each of pictures of one shape.

    A bucket of n examples is met in one random order after another, as a whole source is by ``Batches``; a
    batch that the end of an order would cut short goes on into the next. After e epochs a bucket has given
    floor(e n / batch) batches: what is left over in an epoch (fewer than a batch) is not dropped but comes
    first when the bucket is next drawn from, so the examples of a bucket have always been met equally often,
    give or take one. A bucket smaller than a batch gives one every few epochs, in which examples come twice.
    Which bucket a batch is from is shuffled.

    All of it follows from the seed and two integers: the epoch, and the batches of it already handed out.
    ``pixels`` and ``share`` are those of ``Batches``.
    """

    def __init__(
        self, source: Source, batch_size: int, seed: int, *, pixels: bool = False, share: tuple[int, int] = (0, 1)
    ) -> None:
        if not source.buckets:
            raise ValueError(f"'{source.name}' has no buckets: use zeuxis.data.batches.Batches")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, want at least 1")
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.pixels, self.rows = pixels, rows_of(share, batch_size)
        self.epoch = 0
        self.position = 0  # batches of this epoch already handed out
        self._orders: dict[int, tuple[int, Tensor]] = {}  # of each bucket, the order it is in
        self._buckets = self._buckets_of(0)

    def _before(self, bucket: int, epoch: int) -> int:
        """How many batches a bucket has given when ``epoch`` begins."""
        return epoch * len(self.source.buckets[bucket].members) // self.batch_size

    def _buckets_of(self, epoch: int) -> list[int]:
        """The buckets of an epoch's batches, in order."""
        buckets = range(len(self.source.buckets))
        order = [b for b in buckets for _ in range(self._before(b, epoch + 1) - self._before(b, epoch))]
        return [order[k] for k in rng.Stream(self.seed, "buckets", epoch).permutation(len(order)).tolist()]

    def next(self) -> Batch:
        """The next ``batch_size`` examples, of one shape."""
        while self.position == len(self._buckets):  # an epoch of fewer examples than a batch may have none
            self.epoch, self.position = self.epoch + 1, 0
            self._buckets = self._buckets_of(self.epoch)
        bucket = self._buckets[self.position]
        given = self._before(bucket, self.epoch) + self._buckets[: self.position].count(bucket)
        self.position += 1
        start = given * self.batch_size
        parts: list[Batch] = []
        done = 0  # examples of the batch that all processes together have passed
        while done < self.batch_size:
            round_, at = divmod(start + done, len(self.source.buckets[bucket].members))
            part = self._order(bucket, round_)[at : at + self.batch_size - done]
            mine = part[max(0, self.rows.start - done) : max(0, self.rows.stop - done)]
            if len(mine):
                current = self.source.at(round_)  # as its examples are met for the round_-th time
                parts.append(current.pixels(mine) if self.pixels else current.batch(mine))
            done += len(part)
        return parts[0] if len(parts) == 1 else joined(parts)

    def _order(self, bucket: int, round_: int) -> Tensor:
        """The examples of a bucket in the order in which they are met for the ``round_``-th time."""
        if self._orders.get(bucket, (-1,))[0] != round_:
            members = self.source.buckets[bucket].members
            order = rng.Stream(self.seed, "order", round_, bucket).permutation(len(members))
            self._orders[bucket] = round_, members[order]
        return self._orders[bucket][1]

    def state(self) -> dict[str, Any]:
        """Where in the data this is, as plain values."""
        return {"epoch": self.epoch, "position": self.position, "seed": self.seed, **self._facts()}

    def _facts(self) -> dict[str, Any]:
        """What decides which batches there are."""
        sizes = [[*bucket.shape, len(bucket.members)] for bucket in self.source.buckets]
        return {"batch_size": self.batch_size, "buckets": sizes}

    def restore(self, state: dict[str, Any]) -> None:
        """Go to where :meth:`state` was taken.

        Raises:
            DataError: the buckets, the batch size or the seed differ: the order would not be the same.
        """
        if {key: state.get(key) for key in self._facts()} != self._facts():
            raise DataError(
                f"'{self.source.name}' does not fall into the buckets that the run was saved with, or is not met in "
                "batches of that size: restore the data and the recipe, or start a new run"
            )
        if state["seed"] != self.seed:
            raise DataError(f"the run was saved with seed {state['seed']}, not {self.seed}: resume with the same seed")
        self.epoch, self.position = state["epoch"], state["position"]
        self._buckets = self._buckets_of(self.epoch)


def endless(
    source: Source, batch_size: int, seed: int, *, pixels: bool = False, share: tuple[int, int] = (0, 1)
) -> Batches | BucketBatches:
    """Batches without end as ``source`` has them: of one shape, or from its buckets."""
    made = BucketBatches if source.buckets else Batches
    return made(source, batch_size, seed, pixels=pixels, share=share)
