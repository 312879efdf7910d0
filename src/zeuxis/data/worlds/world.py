"""What the worlds share: an endless supply of examples, and splits that share no description.

Axes: M, the rows that a split still lacks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from zeuxis.batch import to_uint8
from zeuxis.counter import mix, uniforms
from zeuxis.data.source import Source
from zeuxis.errors import UnknownName, UsageError
from zeuxis.rng import derive_seed
from zeuxis.spec import DataSpec

SPLITS = {"train": (0, 90), "val": (90, 95), "test": (95, 100)}  # in hundredths of all descriptions
ATTEMPTS = 1000  # at five rows in a hundred, not one in 10^22 needs more
AT_ONCE = 4096  # rows that are drawn together, of several attempts where few are still missing
HASHED = 64  # examples that a fingerprint reads


def in_split(rows: Tensor, sizes: Sequence[int], split: str) -> Tensor:
    """Which rows of ``rows`` (N, F), factors of ``sizes`` values, belong to ``split``: bool ``(N,)``.

    A hash of the row decides, so no two splits share one. Raises ``UnknownName`` for a split there is not.
    """
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    code = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    for k, values in enumerate(sizes):
        code = code * values + rows[:, k]
    part = mix(mix(code + 1)).remainder(100)
    low, high = SPLITS[split]
    return (part >= low) & (part < high)


def of_split(rows: Tensor, sizes: Sequence[int], split: str) -> Tensor:
    """The rows of ``rows`` (N, F) that are :func:`in_split`."""
    return rows[in_split(rows, sizes, split)]


def draw_split(
    key: int, index: Tensor, draw: Callable[[Tensor], Tensor], slots: int, sizes: Sequence[int], split: str
) -> Tensor:
    """Rows of factors ``(B, F)`` of the examples ``index`` (B,): drawn anew until they are :func:`in_split`.

    ``draw`` makes rows from uniform numbers ``(N, slots)``; there is one key for each attempt.
    """
    rows = torch.zeros(len(index), len(sizes), dtype=torch.int64, device=index.device)
    missing = torch.arange(len(index), device=index.device)
    done, some = 0, 1  # attempts: those made, and how many come next
    while len(missing) and done < ATTEMPTS:
        keys = key + torch.arange(done, done + some, device=index.device)
        here = index[missing].repeat(some)  # (some * M,), attempt by attempt
        drawn = draw(uniforms(keys.repeat_interleave(len(missing)), here, slots))
        good = in_split(drawn, sizes, split).view(some, -1)  # (some, M)
        found, first = good.any(0), good.int().argmax(0)  # argmax gives the first of equals
        at = first * len(missing) + torch.arange(len(missing), device=index.device)
        rows[missing[found]] = drawn[at[found]]
        missing = missing[~found]
        done += some
        some = min(2 * some, max(1, AT_ONCE // max(1, len(missing))), max(1, ATTEMPTS - done))
    if not len(missing):
        return rows
    raise RuntimeError(f"{len(missing)} rows of '{split}' were not found in {ATTEMPTS} attempts")


class World(Source):
    """A source of square pictures whose examples depend on their index alone.

    A subclass gives ``natural``, its facts at its natural size, and ``batch``.
    """

    natural: ClassVar[DataSpec]

    def __init__(self, size: int = 64, split: str = "train", length: int = 1_000_000) -> None:
        if split not in SPLITS:
            raise UnknownName("split", split, SPLITS)
        if size < 8 or length < 1:
            raise UsageError(f"{self.name}: size {size}, length {length}: at least 8, at least 1")
        self.spec = self.natural.at(size)
        self.length = length
        self.key = derive_seed(0, self.name, split)

    def __len__(self) -> int:
        return self.length

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self.spec.shape.height

    def checked(self, index: Tensor) -> Tensor:
        """``index``, if there are such examples."""
        if ((index < 0) | (index >= self.length)).any():
            raise IndexError(f"{self.name}: examples {int(index.min())} to {int(index.max())} of {self.length}")
        return index

    def fingerprint(self) -> str:
        """SHA-256 (16 hex digits) of the length, the size and 64 evenly spaced examples: captions and pictures."""
        n = min(HASHED, self.length)
        batch = self.batch(torch.arange(n) * (self.length - 1) // max(1, n - 1))
        digest = hashlib.sha256(f"{self.length} {tuple(self.spec.shape)} {batch.condition.caption}".encode())
        for images in (batch.image, batch.condition.source):
            if images is not None:
                digest.update(to_uint8(images).numpy().tobytes())
        return digest.hexdigest()[:16]
