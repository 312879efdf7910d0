"""The codes of pictures that were tokenised before, by a tokeniser that never changes: each picture costs it once.

Axes: P values of a picture, N its codes.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from zeuxis.batch import Batch, Shape
from zeuxis.rng import Stream

MOST = 2**24  # codes that are kept, at most (64 MiB)


class CodeTokeniser(Protocol):
    """Pictures to codes and back: the two methods that are used of a tokeniser once it has been checked."""

    def encode(self, image: Tensor) -> Tensor: ...

    def decode(self, latent: Tensor) -> Tensor: ...


def tokenise(tokeniser: CodeTokeniser, image: Tensor) -> Tensor:
    """The codes ``(B, N)`` int64 of images ``(B, C, H, W)``, the same whether or not training is in bfloat16."""
    with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
        return tokeniser.encode(image).flatten(1)


class CodeCache:
    """Codes by the number of the example, and by what its picture is: one that was augmented anew is coded anew.

    A batch that holds a single picture not yet known is tokenised whole. A training that is taken up again starts with
    no codes, and goes on as it would have as long as a picture has the same codes in whatever batch it is coded.
    """

    def __init__(self, shape: Shape, length: int) -> None:
        self.values = math.prod(shape)
        self.rows: dict[tuple[int, int], int] = {}  # example and fingerprint -> row of ``codes``
        self.codes = torch.empty(0, length, dtype=torch.int32, device="cpu")

    def tokenise(self, tokeniser: CodeTokeniser, batch: Batch) -> Tensor:
        """The codes ``(B, N)`` int64 of a batch's pictures."""
        if batch.index is None:
            return tokenise(tokeniser, batch.image)
        keys = list(zip(batch.index.tolist(), self.fingerprints(batch.image).tolist(), strict=True))
        known = [self.rows[key] for key in keys if key in self.rows]
        if len(known) == len(keys):
            return self.codes[known].to(batch.image.device, torch.int64)
        codes = tokenise(tokeniser, batch.image)
        self._keep(keys, codes)
        return codes

    def _keep(self, keys: list[tuple[int, int]], codes: Tensor) -> None:
        """Take in those that are new, as long as there is room."""
        new = {key: place for place, key in enumerate(keys) if key not in self.rows}
        filled = len(self.rows)
        if (filled + len(new)) * codes.shape[1] > MOST:
            return
        if filled + len(new) > len(self.codes):  # twice as much, so that all copies together cost as one
            more = self.codes.new_empty(max(filled + len(new), 2 * filled), codes.shape[1])
            more[:filled] = self.codes[:filled]
            self.codes = more
        self.codes[filled : filled + len(new)] = codes[list(new.values())].to(self.codes)
        self.rows.update(zip(new, range(filled, filled + len(new)), strict=True))

    @cached_property
    def weights(self) -> Tensor:
        """Odd numbers, int64 ``(P,)``."""
        high, low = (Stream(0, "fingerprint", half).integers(2**31, self.values) for half in ("high", "low"))
        return (high << 32) | (low << 1) | 1

    def fingerprints(self, image: Tensor) -> Tensor:
        """A number for each picture ``(B, C, H, W)``, int64 ``(B,)``: a random linear function of its bits."""
        bits = image.float().contiguous().view(torch.int32).flatten(1).long()  # (B, P)
        return (bits * self.weights.to(image.device)).sum(1)
