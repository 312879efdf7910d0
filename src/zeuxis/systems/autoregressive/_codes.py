"""What the sequence models share: a tokeniser, whose codes they model as a sequence.

A tokeniser is any trained system that encodes a picture in a fixed number of codes and decodes those; or a palette,
which has the same interface.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import System
from zeuxis.nn.code_cache import CodeTokeniser

CONDITIONS = ("none", "label")


class Layout(NamedTuple):
    """How many values a code takes, and the shape of one picture's codes: ``(h, w)`` of a map, or ``(N,)``."""

    codes: int
    grid: tuple[int, ...]

    @property
    def length(self) -> int:
        """N, the codes of one picture."""
        return prod(self.grid)


def code_layout(tokeniser: System, shape: Shape, expected: int | None = None) -> Layout:
    """The codes of pictures of ``shape``; refused unless ``tokeniser`` codes them, in ``expected`` codes if given."""
    name = tokeniser.card.id
    if tokeniser.codes is None or not {"encode", "decode"} <= tokeniser.card.verbs:
        raise Unsupported(f"'{name}' does not encode pictures in codes: give a tokeniser that does, such as vqgan")
    if tuple(tokeniser.shape) != tuple(shape):
        raise UsageError(
            f"the tokeniser '{name}' was trained on pictures of {tuple(tokeniser.shape)}, not {tuple(shape)} "
            "(channels, rows, columns): set size to its own, or train one on this data"
        )
    if expected is not None and expected != tokeniser.codes:
        raise UsageError(
            f"the tokeniser '{name}' has {tokeniser.codes} codes, not {expected}: leave the number out, "
            "or train a tokeniser that has as many"
        )
    blank = torch.zeros(1, *shape, device=tokeniser.device)
    with torch.no_grad():
        return Layout(tokeniser.codes, tuple(tokeniser.encode(blank).shape[1:]))


def detokenise(tokeniser: CodeTokeniser, codes: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Images ``(B, C, H, W)`` in [-1, 1] of codes ``(B, N)``."""
    return tokeniser.decode(codes.unflatten(1, grid))


def classes_of(condition: str, classes: int, method: str) -> int:
    """The number of classes that a model is conditioned on: 0 with ``condition`` ``"none"``."""
    if condition not in CONDITIONS:
        raise UsageError(f"condition '{condition}': {method} takes {', '.join(CONDITIONS)}")
    if condition == "label" and classes < 2:
        raise UsageError("condition 'label' needs data with 2 classes or more: choose labelled data")
    return classes if condition == "label" else 0
