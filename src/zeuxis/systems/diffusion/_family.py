"""What the diffusion models share: a network that is told the time, and a reader of what it is to draw."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.diffusion.guidance import ConditionalDenoise, Signal, classifier_free
from zeuxis.diffusion.sampler import Denoise
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.game import Player, System
from zeuxis.nn.backbone import Backbone
from zeuxis.nn.dit import DiT
from zeuxis.nn.embed import LabelEmbedding
from zeuxis.nn.text import Sketch, TextTower, WordTokeniser
from zeuxis.nn.unet import UNet
from zeuxis.nn.uvit import UViT
from zeuxis.rng import Rng

ConditionKind = Literal["none", "label", "caption"]
NetworkKind = Literal["dit", "unet", "uvit"]
T = TypeVar("T")


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

    def __init__(self, classes: int, vector: int) -> None:
        super().__init__()
        if classes < 1:
            raise Unsupported("condition 'label' needs data with classes: use labelled data, or condition 'none'")
        self.embedding = LabelEmbedding(classes, vector)

    def forward(self, condition: Condition, n: int, drop: Tensor | None = None) -> Signal:
        self.refuse(condition)
        assert condition.label is not None
        label = condition.label.to(self.embedding.table.weight.device)
        return {"label": self.embedding(label, drop)}  # (B, D)

    def null(self, n: int) -> Signal:
        return {"label": self.embedding.null(n)}


class CaptionReader(Reader):
    """A caption, read by a small transformer: its words are attended to, their sum is added to the time's vector.

    With a sketch it also draws, from the words alone, a coarse picture that the network may look at.
    """

    reads = frozenset({"caption"})

    def __init__(self, text: TextPlan, vector: int, channels: int) -> None:
        super().__init__()
        if not text.words:
            raise Unsupported("condition 'caption' needs data with captions: use captioned data, or condition 'none'")
        self.tokeniser = WordTokeniser(text.words, text.length)
        self.tower = TextTower(len(self.tokeniser), text.length, text.width, text.depth, text.heads)
        self.pool = nn.Linear(text.width, vector)
        self.sketch = Sketch(text.width, channels, text.sketch, text.heads) if text.sketch else None

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
        # Over the root of the number of words the sum keeps its size; in a mean of eleven each word would be faint.
        weight = mask.to(text.dtype)[..., None]
        total = (text * weight).sum(1) / weight.sum(1).sqrt()  # (B, E)
        signal = {"label": self.pool(total), "text": text, "text_mask": mask}
        return signal if self.sketch is None else {**signal, "sketch": self.sketch(text, mask, total)}


@dataclass(frozen=True)
class TextPlan:
    """The vocabulary, the longest caption in words, the size of its reader, and the side of the sketch."""

    words: tuple[str, ...] = ()
    length: int = 16
    width: int = 128
    depth: int = 2
    heads: int = 4
    sketch: int = 0


def build_reader(
    condition: ConditionKind, vector: int, classes: int, text: TextPlan = TextPlan(), channels: int = 3
) -> Reader:
    """The reader of ``condition`` for a network of ``channels``-channel images and time vectors of width ``vector``."""
    makers: dict[str, Callable[[], Reader]] = {
        "none": Nothing,
        "label": lambda: LabelReader(classes, vector),
        "caption": lambda: CaptionReader(text, vector, channels),
    }
    return pick("condition", condition, makers)()


@dataclass(frozen=True)
class Plan:
    """The size of a network for images of ``shape``; each network uses what concerns it.

    ``beside`` counts the channels of what the network sees beside the noisy image.
    """

    shape: Shape
    width: int
    depth: int
    heads: int
    patch: int = 2
    multiples: tuple[int, ...] = (1, 2, 2, 2)
    attention: tuple[int, ...] = (2,)
    text_width: int = 0
    beside: int = 0
    fine: int = 64
    fine_depth: int = 3


def build_network(kind: NetworkKind, plan: Plan) -> tuple[Backbone, int]:
    """The network, and the width of the vector that its time is embedded in."""
    return pick("network", kind, _NETWORKS)(plan)


def _dit(plan: Plan) -> tuple[Backbone, int]:
    channels, height, width = plan.shape
    if height % plan.patch or width % plan.patch:
        raise UsageError(f"{height}x{width} images are not made of whole patches of {plan.patch}: change model.patch")
    net = DiT(
        channels + plan.beside,
        (height, width),
        patch=plan.patch,
        width=plan.width,
        depth=plan.depth,
        heads=plan.heads,
        out_channels=channels,
        text_width=plan.text_width,
    )
    return net, plan.width


def _unet(plan: Plan) -> tuple[Backbone, int]:
    channels, height, width = plan.shape
    coarsest = 2 ** (len(plan.multiples) - 1)
    if height % coarsest or width % coarsest:
        raise UsageError(
            f"{height}x{width} images cannot be halved {len(plan.multiples) - 1} times: cut model.multiples"
        )
    net = UNet(
        channels + plan.beside,
        out_channels=channels,
        width=plan.width,
        multiples=plan.multiples,
        blocks=plan.depth,
        attention=plan.attention,
        heads=plan.heads,
        text_width=plan.text_width,
        ddpm=True,
    )
    return net, 4 * plan.width


def _uvit(plan: Plan) -> tuple[Backbone, int]:
    channels, height, width = plan.shape
    net = UViT(
        channels + plan.beside,
        (height, width),
        out_channels=channels,
        patch=plan.patch,
        fine=plan.fine,
        fine_depth=plan.fine_depth,
        width=plan.width,
        depth=plan.depth,
        heads=plan.heads,
        text_width=plan.text_width,
    )
    return net, plan.width


_NETWORKS: dict[str, Callable[[Plan], tuple[Backbone, int]]] = {"dit": _dit, "unet": _unet, "uvit": _uvit}


class ConditionalDiffusion(System):
    """One player: a network that is told the time, and the reader of its condition."""

    network: Backbone
    reader: Reader
    drop: float  # how often training hides the condition, for classifier-free guidance
    player: Player

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    @property
    def conditions(self) -> frozenset[str]:
        return self.reader.reads

    def guide(self, denoise: ConditionalDenoise, condition: Condition, n: int, scale: float) -> Denoise:
        """``denoise`` told what to draw for ``n`` images, with classifier-free guidance."""
        return classifier_free(denoise, self.reader(condition, n), self.reader.null(n), scale)

    def drop_mask(self, n: int, rng: Rng) -> Tensor:
        """Which of ``n`` training images go without their condition, bool (n,): a share ``drop`` of them."""
        return rng.uniform(n, device=self.device) < self.drop


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """The mean squared error of each image, (B,), in float32."""
    return (prediction.float() - target).square().flatten(1).mean(1)


def pick(kind: str, name: str, table: Mapping[str, T]) -> T:
    """``table[name]``; raises :class:`UnknownName` for a ``kind`` of that name there is not."""
    if name not in table:
        raise UnknownName(kind, name, table)
    return table[name]
