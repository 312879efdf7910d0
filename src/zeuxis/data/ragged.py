"""Pictures of several sizes in one flat array, and the ways of showing them as batches.

A view stands where an array ``(N, C, H, W)`` would: indexed by rows, it gives uint8 ``(B, C, H, W)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from zeuxis.counter import uniforms
from zeuxis.rng import derive_seed
from zeuxis.spec import Shape

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Bucket:
    """Examples of a source whose pictures have one shape."""

    shape: Shape
    members: Tensor  # (n,) int64: which examples, ascending


class Ragged:
    """uint8 pictures ``(C, H, W)`` of several sizes, one after another in ``flat``.

    ``sizes`` is ``(N, 2)``: height and width of each.
    """

    def __init__(self, flat: Array, sizes: Array, channels: int) -> None:
        self.flat, self.sizes, self.channels = flat, sizes.astype(np.int64), channels
        self._ends = np.cumsum(channels * self.sizes.prod(1))

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, row: int) -> Array:
        height, width = self.sizes[row]
        end = self._ends[row]
        return self.flat[end - self.channels * height * width : end].reshape(self.channels, height, width)


class View(ABC):
    """What is shown of ``pictures``; ``target`` (height, width) is the shape that stands for all of theirs."""

    ndim, dtype = 4, np.dtype(np.uint8)

    def __init__(self, pictures: Ragged, target: tuple[int, int]) -> None:
        self.pictures, self.target = pictures, target

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """N, C, and the rows and columns that stand for all."""
        return len(self), self.pictures.channels, *self.target

    @abstractmethod
    def __getitem__(self, rows: Array) -> Array:
        """uint8 ``(B, C, H, W)`` of ``rows`` (B,)."""

    def at(self, epoch: int) -> Self:
        """The view of another epoch."""
        return self

    def buckets(self, rows: Array) -> tuple[Bucket, ...]:
        """``rows`` by the shape that they are shown in; nothing where all are shown in one."""
        return ()


class Windows(View):
    """A window of every picture, where it lies chosen by the row and the epoch alone.

    So the same example has the same window in any company and after any resumption, and the picture and
    what is paired with it (which have the same sizes) are cut in the same place.
    """

    def __init__(self, pictures: Ragged, target: tuple[int, int], epoch: int = 0) -> None:
        super().__init__(pictures, target)
        self.epoch = epoch
        self._key = derive_seed(0, "window", epoch)

    def corners(self, rows: Array) -> Array:
        """Where the windows begin: int64 ``(B, 2)``, top and left."""
        chosen = uniforms(self._key, torch.from_numpy(np.asarray(rows, np.int64)), 2).numpy().astype(np.float64)
        return (chosen * (self.pictures.sizes[rows] - self.target + 1)).astype(np.int64)

    def __getitem__(self, rows: Array) -> Array:
        corners = self.corners(rows)
        height, width = self.target
        cut = np.empty((len(rows), self.pictures.channels, height, width), np.uint8)
        for k, (row, (top, left)) in enumerate(zip(rows, corners, strict=True)):
            cut[k] = self.pictures[row][:, top : top + height, left : left + width]
        return cut

    def at(self, epoch: int) -> Self:
        return type(self)(self.pictures, self.target, epoch)


class Middles(Windows):
    """The window in the middle of every picture, the same in every epoch."""

    def corners(self, rows: Array) -> Array:
        middle: Array = (self.pictures.sizes[rows] - self.target) // 2
        return middle


class Shelves(View):
    """Every picture whole. Those of one call must have one shape: a batch comes from one bucket."""

    def __getitem__(self, rows: Array) -> Array:
        sizes = {(int(h), int(w)) for h, w in self.pictures.sizes[rows]}
        if len(sizes) > 1:
            raise ValueError(f"one batch of {len(sizes)} shapes {sorted(sizes)}: take a batch from one bucket")
        height, width = next(iter(sizes), self.target)
        made = np.empty((len(rows), self.pictures.channels, height, width), np.uint8)
        for k, row in enumerate(rows):
            made[k] = self.pictures[row]
        return made

    def buckets(self, rows: Array) -> tuple[Bucket, ...]:
        """In the order of their widths; only those that hold something."""
        sizes, number = np.unique(self.pictures.sizes[rows][:, ::-1], axis=0, return_inverse=True)
        number = number.reshape(-1)
        return tuple(
            Bucket(
                Shape(self.pictures.channels, int(height), int(width)), torch.from_numpy(np.flatnonzero(number == k))
            )
            for k, (width, height) in enumerate(sizes)
        )
