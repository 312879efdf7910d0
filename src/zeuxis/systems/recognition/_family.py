"""What the recognition systems share: one player, features and logits, and out-of-distribution detection."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.game import Player, System, Turn
from zeuxis.nn.features import FeatureNetwork

HORIZON = 200  # rounds that a running threshold averages over


class OneNetwork(System):
    """One player, called "network", who trains one network."""

    network: nn.Module
    lr: float

    def players(self) -> tuple[Player, ...]:
        return (
            Player(
                "network",
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


class FeatureClassifier(OneNetwork):
    """A network with features and, over them, a linear head for each label or factor that it predicts."""

    network: FeatureNetwork

    def encode(self, image: Tensor) -> Tensor:
        """Features ``(B, D)`` of images ``(B, C, H, W)`` in [-1, 1]."""
        return self.network.features(image)

    def classify(self, image: Tensor) -> tuple[Tensor, ...]:
        """Logits ``(B, K_f)``, one tensor for each head."""
        return self.network(image)


class OODDetector(OneNetwork):
    """A network that also says which pictures are out of distribution: those whose score is above a threshold.

    The threshold is set so that a share ``coverage`` of the training pictures lies below it. ``learn`` leaves the
    scores ``(B,)`` of its batch in ``turn.memo["ood_score"]``.
    """

    coverage: float
    ood_threshold: Tensor
    rounds_seen: Tensor

    def init_detector(self, coverage: float) -> None:
        """Make the buffers, with a threshold that no score exceeds; called once, by the constructor."""
        self.coverage = coverage
        self.register_buffer("ood_threshold", torch.tensor(torch.finfo(torch.float16).max))
        self.register_buffer("rounds_seen", torch.zeros((), dtype=torch.int64))

    @property
    def ema_weight(self) -> float:
        """The weight of this round in the running thresholds: a plain mean at first, then of about HORIZON rounds."""
        return 1 / min(int(self.rounds_seen) + 1, HORIZON)

    def after_round(self, turn: Turn) -> None:
        """Move the threshold towards the quantile ``coverage`` of this round's scores."""
        self.ood_threshold.lerp_(turn.whole("ood_score").quantile(self.coverage), self.ema_weight)
        self.rounds_seen += 1

    def ood_score(self, image: Tensor) -> Tensor:
        """``(B,)``: the higher, the less a picture is like the training pictures."""
        raise NotImplementedError

    def in_distribution(self, image: Tensor) -> Tensor:
        """Which pictures are like the training pictures, bool ``(B,)``; predictions on the others mean nothing."""
        return self.ood_score(image) <= self.ood_threshold
