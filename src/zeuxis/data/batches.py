"""The order of training examples: endless, shuffled, and resumable to the example."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from zeuxis import rng
from zeuxis.batch import Batch, joined
from zeuxis.data.source import Source
from zeuxis.errors import DataError, UsageError


class Batches:
    """Batches without end, of a source whose pictures have one shape: one random order of it per epoch.

    Epoch ``e``'s order follows from ``(seed, e)`` alone, so the place in the data is two
    integers, and what follows is bit-equal from them. A batch that the end of an epoch would cut short
    goes on into the next one: no example is dropped, every batch is full, and a source may be
    smaller than a batch.

    With ``pixels`` pictures that are kept in uint8 stay so (``Batch.floats`` converts them, on the device).
    ``share`` (k, n) gives only the k-th of n equal parts of every batch, for one of n processes.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        seed: int,
        shuffle: bool = True,
        *,
        pixels: bool = False,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        if len(source) == 0:
            raise DataError(f"'{source.name}' holds no examples: there is nothing to train on")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, want at least 1")
        if source.buckets:
            raise ValueError(f"'{source.name}' has buckets: use zeuxis.data.bucketed.BucketBatches")
        self.source = source
        self.rows = rows_of(share, batch_size)
        self.pixels = pixels
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0
        self.position = 0  # examples of this epoch already handed out
        self._order, self._current = self._order_of(0), source.at(0)

    def _order_of(self, epoch: int) -> torch.Tensor:
        n = len(self.source)
        return rng.Stream(self.seed, "order", epoch).permutation(n) if self.shuffle else torch.arange(n)

    def _move_to(self, epoch: int, position: int) -> None:
        if epoch != self.epoch:
            self._order, self._current = self._order_of(epoch), self.source.at(epoch)
        self.epoch, self.position = epoch, position

    def next(self) -> Batch:
        """The next ``batch_size`` examples, or this process's share of them."""
        parts: list[Batch] = []
        done = 0  # examples of the batch that all processes together have passed
        while done < self.batch_size:
            part = self._order[self.position : self.position + self.batch_size - done]
            mine = part[max(0, self.rows.start - done) : max(0, self.rows.stop - done)]
            if len(mine):
                parts.append(self._current.pixels(mine) if self.pixels else self._current.batch(mine))
            done += len(part)
            self.position += len(part)
            if self.position == len(self._order):
                self._move_to(self.epoch + 1, 0)
        return parts[0] if len(parts) == 1 else joined(parts)

    def state(self) -> dict[str, int]:
        """Where in the data this is, as plain integers."""
        return {"epoch": self.epoch, "position": self.position, "seed": self.seed, "length": len(self.source)}

    def restore(self, state: dict[str, int]) -> None:
        """Go to where :meth:`state` was taken.

        Raises:
            DataError: the source has another length, or the seed differs: the order would not be the same.
        """
        if state["length"] != len(self.source):
            raise DataError(
                f"'{self.source.name}' held {state['length']} examples when the run was saved and holds "
                f"{len(self.source)} now: restore the data, or start a new run"
            )
        if state["seed"] != self.seed:
            raise DataError(f"the run was saved with seed {state['seed']}, not {self.seed}: resume with the same seed")
        self._move_to(state["epoch"], state["position"])


def rows_of(share: tuple[int, int], batch_size: int) -> slice:
    """The rows of a batch that are the k-th process's of n."""
    k, n = share
    if batch_size % n:
        raise UsageError(f"a batch of {batch_size} cannot be shared equally by {n} processes: change train.batch")
    return slice(k * batch_size // n, (k + 1) * batch_size // n)


def epoch_batches(source: Source, batch_size: int) -> Iterator[Batch]:
    """One pass over the source, in order; the last batch may be smaller."""
    for start in range(0, len(source), batch_size):
        yield source.batch(torch.arange(start, min(start + batch_size, len(source))))
