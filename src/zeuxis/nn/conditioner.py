"""What a diffusion model's network is given besides the image and the time, and how a condition becomes it.

A :class:`Conditioner` turns a :class:`~zeuxis.batch.Condition` into a :data:`Conditioning`, and a :class:`Backbone`
takes its entries as keyword arguments, each of which may be missing:

    vector        (B, D)        added to the time's: an embedded class, a pooled caption
    context       (B, T, E)     vectors that cross-attention attends to, such as a caption's words
    context_mask  (B, T) bool   true where the context is to be attended to, at least once a row
    conditional   (B,) bool     which rows of a guided batch stand under the condition (set by guidance)

Legend: B images, C channels, H rows, W columns, T words, K classes, D width of the vector, E width of the context.

Axes: E width of the text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from zeuxis.batch import Condition
from zeuxis.batch import Conditioning as Conditioning
from zeuxis.errors import Unsupported, UsageError, lookup
from zeuxis.nn.embed import LabelEmbedding, check_labels
from zeuxis.rng import Device, Rng

ConditionKind = Literal["none", "label", "caption"]


class Backbone(nn.Module):
    """Images ``(B, C, H, W)`` at times ``(B,)`` to ``(B, C_out, H, W)``: the network of a diffusion model.

    A subclass sets ``time``, ``vector_width`` (D of the vector that it takes), ``context_width`` (E; 0 if it attends
    to none) and ``stride`` (any sides that are multiples of it will do; None: the sides it was built for alone).
    """

    time: nn.Module
    vector_width: int
    context_width: int
    stride: int | None = None

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        vector: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        conditional: Tensor | None = None,
    ) -> Tensor:
        """Predict ``(B, C_out, H, W)`` in ``x``'s dtype; ``time`` ``(B,)`` is on the scale of 0 to 1000.

        ``context`` is given exactly when the network was built with a ``context_width``. ``conditional`` changes
        nothing here: it is there for :func:`zeuxis.nn.control.controlled` to read.
        """
        raise NotImplementedError

    @property
    def centre(self) -> nn.Module:
        """The layer in the middle, which makes maps ``(B, C, h, w)`` or tokens ``(B, N, D)``."""
        raise NotImplementedError

    def embed(self, time: Tensor, vector: Tensor | None, context: Tensor | None) -> Tensor:
        """Time and vector as one ``(B, D)``; ValueError if the context is missing, or given in vain."""
        if (context is None) == (self.context_width > 0):
            raise ValueError("context is given exactly when the network was built with a context_width")
        c: Tensor = self.time(time)
        return c if vector is None else c + vector


class Conditioner(nn.Module, ABC):
    """Turns a condition into a network's conditioning."""

    fields: frozenset[str] = frozenset()  # of Condition, without which it has nothing to read

    @abstractmethod
    def forward(self, condition: Condition, n: int, drop: Tensor | None = None) -> Conditioning:
        """The conditioning of ``n`` images; where ``drop`` (n,) bool is true, that of no condition at all."""

    @abstractmethod
    def null(self, n: int) -> Conditioning:
        """The conditioning of no condition, as it is met in training where the condition was dropped."""

    def check(self, condition: Condition) -> None:
        """Raise :class:`Unsupported` unless ``condition`` has the fields that are read."""
        for name in sorted(self.fields):
            condition.required(name)


class NoCondition(Conditioner):
    """For unconditional models."""

    def forward(self, condition: Condition, n: int, drop: Tensor | None = None) -> Conditioning:
        return {}

    def null(self, n: int) -> Conditioning:
        return {}


class LabelConditioner(Conditioner):
    """A class, embedded and added to the time's vector; one more class stands for none."""

    fields = frozenset({"label"})

    def __init__(self, classes: int, vector: int) -> None:
        super().__init__()
        if classes < 1:
            raise Unsupported("condition 'label' needs data with classes: use labelled data, or condition 'none'")
        self.embedding = LabelEmbedding(classes, vector)

    def forward(self, condition: Condition, n: int, drop: Tensor | None = None) -> Conditioning:
        self.check(condition)
        assert condition.label is not None
        check_labels(condition.label, self.embedding.classes)
        label = condition.label.to(self.embedding.table.weight.device)
        return {"vector": self.embedding(label, drop)}  # (B, D)

    def null(self, n: int) -> Conditioning:
        return {"vector": self.embedding.null(n)}


def label_conditioner(condition: str, classes: int, vector: int) -> Conditioner:
    """The conditioner of a model that may be built for "none" or "label", with vectors of width ``vector``."""
    makers: dict[str, Callable[[], Conditioner]] = {
        "none": NoCondition,
        "label": lambda: LabelConditioner(classes, vector),
    }
    return lookup("condition", condition, makers)()


def drop_mask(n: int, probability: float, rng: Rng, device: Device) -> Tensor:
    """Which of ``n`` training images go without their condition, bool (n,), for classifier-free guidance."""
    if not 0 <= probability <= 1:
        raise UsageError(f"drop {probability:g}: it is a share of the training images, from 0 to 1")
    return rng.uniform(n, device=device) < probability


def check_null(drop: float, conditioner: Conditioner, wanted: str) -> None:
    """Raise :class:`Unsupported` for what is ``wanted`` under no condition of a model whose training never hid it."""
    if conditioner.fields and not drop:
        raise Unsupported(
            f"{wanted}: this model was trained with drop 0, and has never seen a picture without its condition; train "
            "one with model.drop = 0.1"
        )


def check_guidance(scale: float, drop: float, conditioner: Conditioner) -> None:
    """:func:`check_null` for classifier-free guidance of that ``scale``, which at 1 is none."""
    if scale != 1:
        check_null(drop, conditioner, f"guidance {scale:g}")
