"""What the systems that read pictures share: one network, one player, features and logits."""

from __future__ import annotations

from torch import Tensor

from zeuxis.game import Player, System
from zeuxis.nn.features import Classifier as Network


class Reader(System):
    """One player, called "reader", whose network has features and a head for each thing that it reads."""

    network: Network
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

    def encode(self, image: Tensor) -> Tensor:
        """Features ``(B, D)`` of images ``(B, C, H, W)`` in [-1, 1]."""
        return self.network.features(image)

    def classify(self, image: Tensor) -> tuple[Tensor, ...]:
        """Logits ``(B, K_f)``, one tensor for each head."""
        return self.network(image)
