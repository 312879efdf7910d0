"""What the diffusion models share: a network that is told the time, and a reader of what it is to draw."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn

from zeuxis.batch import Condition
from zeuxis.diffusion.guidance import Signal
from zeuxis.errors import UnknownName, Unsupported
from zeuxis.game import Player, System
from zeuxis.nn.embed import LabelEmbedding
from zeuxis.nn.text import TextTower, WordTokeniser
from zeuxis.rng import Rng

ConditionKind = Literal["none", "label", "caption"]


class Reader(nn.Module, ABC):
    """Turns a condition into the network's signal: its keyword arguments besides the image and the time."""

    reads: frozenset[str] = frozenset()  # the fields of Condition

    @abstractmethod
    def forward(self, condition: Condition, n: int, drop: Tensor | None = None) -> Signal:
        """The signal of ``n`` images; where ``drop`` (n,) bool is true, that of no condition at all."""

    @abstractmethod
    def null(self, n: int) -> Signal:
        """The signal of no condition, as it is met in training where the condition was dropped."""

    def refuse(self, condition: Condition) -> None:
        """Raise :class:`Unsupported` unless ``condition`` has what is read."""
        if missing := self.reads - condition.given:
            name = sorted(missing)[0]
            raise Unsupported(f"this model obeys a {name} and was given none: give one, or use data that has it")


class Nothing(Reader):
    """For unconditional models."""

    def forward(self, condition: Condition, n: int, drop: Tensor | None = None) -> Signal:
        return {}

    def null(self, n: int) -> Signal:
        return {}


class LabelReader(Reader):
    """A class, embedded and added to the time's vector; one more class stands for none."""

    reads = frozenset({"label"})

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        if classes < 1:
            raise Unsupported("condition 'label' needs data with classes: use labelled data, or condition 'none'")
        self.embedding = LabelEmbedding(classes, width)

    def forward(self, condition: Condition, n: int, drop: Tensor | None = None) -> Signal:
        self.refuse(condition)
        assert condition.label is not None
        label = condition.label.to(self.embedding.table.weight.device)
        return {"label": self.embedding(label, drop)}  # (B, D)

    def null(self, n: int) -> Signal:
        return {"label": self.embedding.null(n)}


class CaptionReader(Reader):
    """A caption, read by a small transformer: its words are attended to, their mean is added to the time's vector."""

    reads = frozenset({"caption"})

    def __init__(self, words: Sequence[str], length: int, text_width: int, depth: int, heads: int, width: int) -> None:
        super().__init__()
        if not words:
            raise Unsupported("condition 'caption' needs data with captions: use captioned data, or condition 'none'")
        self.tokeniser = WordTokeniser(words, length)
        self.tower = TextTower(len(self.tokeniser), length, text_width, depth, heads)
        self.pool = nn.Linear(text_width, width)

    def forward(self, condition: Condition, n: int, drop: Tensor | None = None) -> Signal:
        self.refuse(condition)
        assert condition.caption is not None
        ids, mask = (x.to(self.pool.weight.device) for x in self.tokeniser.encode(condition.caption))  # (B, T)
        return self._read(ids, mask if drop is None else mask & ~drop[:, None])

    def null(self, n: int) -> Signal:
        ids, mask = (x.to(self.pool.weight.device) for x in self.tokeniser.encode([""] * n))
        return self._read(ids, mask)

    def _read(self, ids: Tensor, mask: Tensor) -> Signal:
        text, mask = self.tower(ids, mask)  # (B, T, E)
        weight = mask.to(text.dtype)[..., None]
        return {"label": self.pool((text * weight).sum(1) / weight.sum(1)), "text": text, "text_mask": mask}


def reader(
    condition: ConditionKind,
    classes: int,
    words: Sequence[str],
    width: int,
    text_length: int = 0,
    text_width: int = 0,
    text_depth: int = 0,
    text_heads: int = 0,
) -> Reader:
    """The reader of ``condition``, whose vectors are added to a network's time vector of ``width``."""
    makers: dict[ConditionKind, Callable[[], Reader]] = {
        "none": Nothing,
        "label": lambda: LabelReader(classes, width),
        "caption": lambda: CaptionReader(words, text_length, text_width, text_depth, text_heads, width),
    }
    if condition not in makers:
        raise UnknownName("condition", condition, makers)
    return makers[condition]()


class ConditionalDiffusion(System):
    """One player: a network that is told the time, and the reader of its condition."""

    network: nn.Module
    reader: Reader
    drop: float  # how often training hides the condition, for classifier-free guidance
    player: Player

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    @property
    def conditions(self) -> frozenset[str]:
        return self.reader.reads

    def hear(self, condition: Condition, n: int, rng: Rng) -> Signal:
        """The signal of ``n`` training images, a share ``drop`` of them without their condition."""
        return self.reader(condition, n, rng.uniform(n, device=self.device) < self.drop)


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """The mean squared error of each image, (B,), in float32."""
    return (prediction.float() - target).square().flatten(1).mean(1)
