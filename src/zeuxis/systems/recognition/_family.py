"""What the systems that read pictures share: one player, features and logits, and the right to abstain."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.game import Player, System, Turn
from zeuxis.nn.features import Classifier as Network

MEMORY = 200  # rounds that a running limit looks back on


class Learner(System):
    """One player, called "reader", who trains one network."""

    network: nn.Module
    lr: float

    def players(self) -> tuple[Player, ...]:
        return (
            Player(
                "reader",
                (self.network,),
                lr=self.lr,
                betas=(0.9, 0.99),
                weight_decay=0.05,
                optimiser="adamw",
                clip=1.0,
                warmup=100,
                decay="cosine",
            ),
        )


class Recogniser(Learner):
    """A learner whose network has features and a head for each thing that it reads."""

    network: Network

    def encode(self, image: Tensor) -> Tensor:
        """Features ``(B, D)`` of images ``(B, C, H, W)`` in [-1, 1]."""
        return self.network.features(image)

    def classify(self, image: Tensor) -> tuple[Tensor, ...]:
        """Logits ``(B, K_f)``, one tensor for each head."""
        return self.network(image)


class OODDetector(Learner):
    """A learner that says when a picture is not of its world: when it is stranger than nearly all of that world.

    A share ``coverage`` of the world's own pictures is to be recognised. ``learn`` leaves the strangeness of
    those of its batch in ``turn.memo["ood_score"]``.
    """

    coverage: float
    limit: Tensor
    rounds_seen: Tensor

    def watch(self, coverage: float) -> None:
        """Begin with nothing seen and nothing strange; called once, by the constructor."""
        self.coverage = coverage
        self.register_buffer("limit", torch.tensor(torch.finfo(torch.float16).max))
        self.register_buffer("rounds_seen", torch.zeros((), dtype=torch.int64))  # rounds

    @property
    def pace(self) -> float:
        """The weight of this round in what is remembered: a plain mean at first, then of about MEMORY rounds."""
        return 1 / min(int(self.rounds_seen) + 1, MEMORY)

    def after_round(self, turn: Turn) -> None:
        """Keep the strangeness that a share ``coverage`` of the world's own pictures has lately stayed under."""
        self.limit.lerp_(turn.memo["ood_score"].quantile(self.coverage), self.pace)
        self.rounds_seen += 1

    def ood_score(self, image: Tensor) -> Tensor:
        """``(B,)``: the higher, the less a picture is like those of the world."""
        raise NotImplementedError

    def in_distribution(self, image: Tensor) -> Tensor:
        """Which pictures are like the world's own, bool ``(B,)``; of the others its reading means nothing."""
        return self.ood_score(image) <= self.limit
