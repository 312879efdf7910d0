"""What restorers share: a network that makes a picture of its source, alone or against a critic."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.held_out import squared_error_of
from zeuxis.knobs import Sampling
from zeuxis.losses.reconstruction import l1
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.rng import ImageRng, Rng

CONDITIONS: Mapping[str, frozenset[str]] = {"none": frozenset({"source"}), "mask": frozenset({"source", "mask"})}
Distance = Callable[[Tensor, Tensor], Tensor]  # of two batches of the same shape, a scalar


class AnySizeRestorer(System, ABC):
    """A restorer of pictures of any size, or of the faces in them, as `zeuxis restore` takes it."""

    @abstractmethod
    def picture_network(self, how: Sampling = Sampling()) -> PictureNetwork:
        """The network that restores pictures of any size, or faces, as the knobs have it."""

    def source_of(self, condition: Condition) -> Tensor:
        """The sources of a batch; raises :class:`Unsupported` where there are none."""
        if condition.source is None:
            raise Unsupported(f"'{self.card.id}' restores a picture and was given none: give it a source")
        return condition.source


class PictureRestorer(AnySizeRestorer):
    """Whose network makes the picture of its source.

    Pictures are in [-1, 1] here and in [0, 1] in the network, whose weights are then those of published checkpoints.
    Training may start from a network of its kind alone, be it a published one or that of another restorer.
    """

    started_parts: frozenset[str] = frozenset({"network"})
    network: PictureNetwork
    lr: float

    def picture_network(self, how: Sampling = Sampling()) -> PictureNetwork:
        self.settings(how)  # which refuses knobs that there are not
        return self.network

    def given(self, condition: Condition) -> Tensor:
        """What the network is given: the sources ``(B, C, H, W)`` in [0, 1]; of a masked one with the mask beside."""
        source = (self.source_of(condition) + 1) / 2
        return torch.cat([source, condition.required("mask")], 1) if self.network.masked else source

    def made_of(self, condition: Condition) -> Tensor:
        """Pictures ``(B, C, scale H, scale W)``, about in [-1, 1], of the sources of a batch."""
        return 2 * self.network(self.given(condition)) - 1

    def held_out(self, batch: Batch, rng: Rng) -> Mapping[str, Tensor]:
        """The mean squared error of the pictures that it makes of the sources."""
        made = squared_error_of(lambda part: self.sample(part.condition, ImageRng.counting(0, len(part))), batch)
        return {"squared error": made}

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        return (2 * self.picture_network(how)(self.given(condition)) - 1).float().clamp(-1, 1)


class RegressionRestorer(PictureRestorer):
    """One player: a network that makes the picture of its source.

    A subclass sets ``shape``, ``network`` and ``lr``, and says what it lowers.
    """

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.network,), lr=self.lr, decay="cosine"),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.regress),)

    @abstractmethod
    def regress(self, turn: Turn) -> Tensor:
        """How far what is made of the sources is from the pictures."""


class AdversarialRestorer(PictureRestorer):
    """Two players: the network, and a critic that joins when a share ``critic_start`` of the budget is over.

    A subclass sets ``shape``, ``network``, ``critic``, ``lr``, ``adversarial`` and ``critic_start``, and implements
    :meth:`regress`, :meth:`content`, :meth:`fool` and :meth:`judge`.
    """

    critic: nn.Module
    adversarial: float
    critic_start: float

    def players(self) -> tuple[Player, ...]:
        return (
            Player("network", (self.network,), lr=self.lr, betas=(0.9, 0.99)),
            Player("critic", (self.critic,), lr=self.lr, betas=(0.9, 0.99)),
        )

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.restore), Move("critic", self.criticise))

    def regress(self, made: Tensor, image: Tensor) -> Tensor:
        """What the network lowers before the critic joins."""
        return l1(made, image)

    @abstractmethod
    def content(self, made: Tensor, image: Tensor) -> Tensor:
        """What it lowers beside its loss against the critic."""

    @abstractmethod
    def fool(self, made: Tensor, image: Tensor) -> Tensor:
        """Its loss against the critic."""

    @abstractmethod
    def judge(self, made: Tensor, image: Tensor) -> Tensor:
        """The critic's loss."""

    def restore(self, turn: Turn) -> Tensor:
        """The network's loss: of regression alone until ``critic_start``."""
        image, made = turn.batch.image, self.made_of(turn.batch.condition)  # (B, C, scale H, scale W)
        if turn.progress < self.critic_start:
            return self.regress(made, image)
        turn.memo["made"] = made.detach()
        content, fooled = self.content(made, image), self.fool(made, image)
        turn.note(content=content, fooled=fooled)
        return content + self.adversarial * fooled

    def criticise(self, turn: Turn) -> Tensor | None:
        """The critic's loss; it passes until ``critic_start``."""
        if turn.progress < self.critic_start:
            return None
        loss = self.judge(turn.memo["made"], turn.batch.image)
        turn.note(critic=loss)
        return loss


class FeatureSpace:
    """The codes that a given system makes of windows of pictures: where perceptual losses measure.

    A picture of the system's own size is one window; of a larger one the windows lie side by side, the last of a row or
    column moved back to fit.
    """

    def __init__(self, features: System, shape: Shape) -> None:
        mine = features.shape
        if mine.channels != shape.channels or mine.height > shape.height or mine.width > shape.width:
            of, to = ("x".join(map(str, one)) for one in (mine, shape))
            raise UsageError(
                f"the features of '{features.card.id}' are of pictures of {of}, and these are {to}: give features of "
                "as many channels and at most this size, or none"
            )
        self.features = features

    def distance(self, made: Tensor, image: Tensor, of: Distance = l1) -> Tensor:
        """The distance of the codes of ``made`` ``(B, C, H, W)`` from those of ``image``, which gets no gradient."""
        with torch.no_grad():
            wanted = self.features.encode(self.windows(image))
        return of(self.features.encode(self.windows(made)), wanted)

    def windows(self, image: Tensor) -> Tensor:
        """``(n B, C, h, w)``, n windows of each picture."""
        _, height, width = self.features.shape
        rows, columns = _starts(image.shape[2], height), _starts(image.shape[3], width)
        return torch.cat([image[:, :, top : top + height, left : left + width] for top in rows for left in columns])


def _starts(side: int, window: int) -> list[int]:
    """Where windows begin that cover a side."""
    return [*range(0, side - window, window), side - window]


def checked_start(critic_start: float) -> float:
    """The share of the budget after which a critic joins; raises :class:`UsageError` for what is no share."""
    if not 0 <= critic_start <= 1:
        raise UsageError(f"model.critic_start is {critic_start}: give a share of the budget, from 0 to 1 (never)")
    return critic_start


def scale_between(shape: Shape, source: Shape | None, system: str) -> int:
    """By how much a picture is larger than its source, a whole number; 1 where nothing is known of the source.

    Raises :class:`UsageError` where the two have no such number, or other channels.
    """
    if source is None:
        return 1
    scale = shape.height // source.height
    if source.at(source.height * scale, source.width * scale) != shape:
        of, to = ("x".join(map(str, one)) for one in (source, shape))
        raise UsageError(f"'{system}' keeps channels and enlarges by a whole number, and {of} would become {to}")
    return scale


def enlarging_steps(scale: int) -> tuple[int, ...]:
    """The factors of the enlargements that make ``scale``, 1 or more: its primes, (2, 2) of 4 and (2, 3) of 6."""
    step = next((k for k in range(2, scale + 1) if scale % k == 0), None)
    return () if step is None else (step, *enlarging_steps(scale // step))
