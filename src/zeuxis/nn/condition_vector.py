"""A condition as one vector a picture, which both players of a conditional game are given: nothing here is learnt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from zeuxis.batch import Condition, Shape
from zeuxis.errors import Unsupported
from zeuxis.nn.text import WordTokeniser

LONGEST = 64  # words of a caption


class ConditionVector(ABC):
    """Turns the ``field`` of a condition into vectors ``(B, width)``."""

    field: str
    width: int

    @abstractmethod
    def vector(self, condition: Condition) -> Tensor:
        """``(B, width)``, float32, on the device that the condition is on; the field is given."""

    def __call__(self, condition: Condition) -> Tensor:
        """The same; :class:`Unsupported` where the field is not given."""
        condition.required(self.field)
        return self.vector(condition)


class ClassVector(ConditionVector):
    """A class as one of so many numbers that is 1."""

    field = "label"

    def __init__(self, classes: int) -> None:
        if classes < 2:
            raise Unsupported(
                f"condition 'label' needs data with 2 classes or more, not {classes}: choose such data or another"
            )
        self.width = classes

    def vector(self, condition: Condition) -> Tensor:
        assert condition.label is not None
        return one_hot(condition.label, self.width).float()


class CaptionVector(ConditionVector):
    """A caption as the words that are in it, in no order: 1 for each that is."""

    field = "caption"

    def __init__(self, words: Sequence[str]) -> None:
        if not words:
            raise Unsupported("condition 'caption' needs data with captions: choose some, or another condition")
        self.tokeniser = WordTokeniser(words, LONGEST)
        self.width = len(self.tokeniser)

    def vector(self, condition: Condition) -> Tensor:
        assert condition.caption is not None
        ids, there = self.tokeniser.encode(condition.caption)
        bag = torch.zeros(len(ids), self.width + 1)
        return bag.scatter_(1, ids * there, 1.0)[:, 1:]  # id 0 is padding


class TextVector(ConditionVector):
    """A caption as the vector that a trained reader makes of texts; ``words`` are some that it knows."""

    field = "caption"

    def __init__(self, read: Callable[[Sequence[str]], Tensor], words: Sequence[str]) -> None:
        if not words:
            raise Unsupported("condition 'caption' needs data with captions: choose some, or another condition")
        self.read = read
        self.width = self._read(words[:1]).shape[1]

    def vector(self, condition: Condition) -> Tensor:
        assert condition.caption is not None
        return self._read(condition.caption)

    def _read(self, texts: Sequence[str]) -> Tensor:
        with torch.no_grad():
            return self.read(texts).float()


class PictureVector(ConditionVector):
    """A source picture as its pixels."""

    field = "source"

    def __init__(self, shape: Shape | None) -> None:
        if shape is None:
            raise Unsupported("condition 'source' needs data of pairs: choose some, or another condition")
        channels, height, width = shape
        self.width = channels * height * width

    def vector(self, condition: Condition) -> Tensor:
        assert condition.source is not None
        return condition.source.flatten(1)


VECTORS: Mapping[str, Callable[[int, Sequence[str], Shape | None], ConditionVector]] = {
    "label": lambda classes, words, source: ClassVector(classes),
    "caption": lambda classes, words, source: CaptionVector(words),
    "source": lambda classes, words, source: PictureVector(source),
}
