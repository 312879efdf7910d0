"""What the recognition systems share: a player for one network, features and logits, and outlier detection."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.data.foreign import Foreign
from zeuxis.game import Move, Player, System, Turn
from zeuxis.nn.augment import augmented
from zeuxis.nn.detector import MapDetector
from zeuxis.nn.features import FeatureNetwork
from zeuxis.nn.outliers import kinds_of, make_outliers, partners
from zeuxis.nn.pixelwise import SegmentationUNet
from zeuxis.spec import Shape

HORIZON = 200  # rounds that a running threshold averages over
FOREIGN = 4  # one outlier in so many is a picture of another world, where worlds are named


def player_of(name: str, net: nn.Module, lr: float, warmup: int = 100) -> Player:
    """How a network that reads pictures is optimised."""
    return Player(
        name,
        (net,),
        lr=lr,
        betas=(0.9, 0.99),
        weight_decay=0.05,
        optimiser="adamw",
        clip=1.0,
        warmup=warmup,
        decay="cosine",
    )


MapNetwork = FeatureNetwork | SegmentationUNet


class OneNetwork(System):
    """One player, called "network", who trains one network."""

    network: nn.Module
    lr: float

    def players(self) -> tuple[Player, ...]:
        return (player_of("network", self.network, self.lr),)


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
    """A network that reads pictures, and beside it a detector of those that are out of distribution.

    A picture is in distribution where two scores lie below their thresholds: how unsure the network is of what it
    reads (``ood_score``), and the log-odds of an outlier by a second, smaller network over the first one's maps that
    was trained to tell the training pictures from outliers (those of `zeuxis.nn.outliers`). The first notices what it
    cannot read, the second what it need not read: a third object, another half. Each threshold is set so that a share
    ``coverage`` of the training pictures lies below it.

    A subclass leaves the scores ``(B,)`` of its batch in ``turn.memo["ood_score"]``. Where its network was frozen
    before the game, the detector alone learns.
    """

    network: MapNetwork
    shape: Shape
    coverage: float
    color_jitter: float
    gaussian_noise: float
    detector: MapDetector
    ood_threshold: Tensor
    detector_threshold: Tensor
    rounds_seen: Tensor

    def init_detector(
        self, coverage: float, widths: tuple[int, ...], foreign: tuple[str, ...], frames: int = 1
    ) -> None:
        """Make the detector and the thresholds, which no score exceeds; called once, by the constructor.

        Without ``widths`` there is no detector, as in models of before there was one.
        """
        self.coverage, self.detects = coverage, bool(widths)
        self.foreign, self.kinds = Foreign(foreign, self.shape), kinds_of(frames)
        self.register_buffer("ood_threshold", torch.tensor(torch.finfo(torch.float16).max))
        self.register_buffer("rounds_seen", torch.zeros((), dtype=torch.int64))
        if self.detects:
            self.detector = MapDetector(self.network.map_shapes(self.shape.height, self.shape.width), widths)
            self.register_buffer("detector_threshold", torch.tensor(torch.finfo(torch.float16).max))

    def learn(self, turn: Turn) -> Tensor:
        """The loss of the network that reads."""
        raise NotImplementedError

    @property
    def reads(self) -> bool:
        """Whether the network learns, rather than being given."""
        return any(p.requires_grad for p in self.network.parameters())

    def players(self) -> tuple[Player, ...]:
        found = super().players() if self.reads else ()
        return (*found, player_of("detector", self.detector, self.lr, warmup=20)) if self.detects else found

    def moves(self) -> tuple[Move, ...]:
        found = (Move("network", self.learn),) if self.reads else ()
        return (*found, Move("detector", self.detect)) if self.detects else found

    def detect(self, turn: Turn) -> Tensor:
        """-log p(which it is) of half of the pictures and of as many outliers; of all where nothing else learns."""
        own = self.pictures(turn)
        own = own[: -(-len(own) // 2)] if "ood_score" in turn.memo else own
        made = make_outliers(own, turn.rng, self.kinds, partners(own, turn.rng))
        if self.foreign.names and (n := len(own) // FOREIGN):
            made = torch.cat([self.foreign.pictures(n, turn.rng, own.device).to(own.dtype), made[n:]])
        image = augmented(torch.cat([own, made]), turn.rng, self.color_jitter, self.gaussian_noise)
        with torch.no_grad():
            maps = self.network.maps(image)
        score = self.detector(maps).float()
        is_outlier = (torch.arange(len(image), device=image.device) >= len(own)).float()
        turn.memo["detector_score"] = score[: len(own)].detach()
        loss = F.binary_cross_entropy_with_logits(score, is_outlier)
        turn.note(detection=loss, detected=((score > 0).float() == is_outlier).float().mean())
        return loss

    def pictures(self, turn: Turn) -> Tensor:
        """The training pictures of a batch ``(B, C, H, W)``."""
        return turn.batch.image

    @property
    def ema_weight(self) -> float:
        """The weight of this round in the running thresholds: a plain mean at first, then of about HORIZON rounds."""
        return 1 / min(int(self.rounds_seen) + 1, HORIZON)

    def after_round(self, turn: Turn) -> None:
        """Move each threshold towards the quantile ``coverage`` of this round's scores."""
        if "ood_score" in turn.memo:
            self.calibrate(turn)
        if self.detects:
            self.detector_threshold.lerp_(turn.whole("detector_score").quantile(self.coverage), self.ema_weight)
        self.rounds_seen += 1

    def calibrate(self, turn: Turn) -> None:
        """Move the thresholds of what the network reads, in a round in which it learnt."""
        self.ood_threshold.lerp_(turn.whole("ood_score").quantile(self.coverage), self.ema_weight)

    def unsure(self, output: Any) -> Tensor:
        """``(B,)`` from the network's output: the higher, the less it says what it would of a training picture."""
        raise NotImplementedError

    def ood_score(self, image: Tensor) -> Tensor:
        """``(B,)``: the higher, the less sure the network is of what it reads."""
        return self.unsure(self.network(image))

    def read(self, maps: tuple[Tensor, ...]) -> Any:
        """The network's output for pictures of its shape, from the network's maps of them."""
        return self.network.read(maps)

    def detector_score(self, image: Tensor) -> Tensor:
        """The log-odds ``(B,)``, float32, that a picture is an outlier rather than one of the training pictures."""
        score: Tensor = self.detector(self.network.maps(image)).float()
        return score

    def in_distribution(self, image: Tensor) -> Tensor:
        """Which pictures are like the training pictures, bool ``(B,)``; predictions on the others mean nothing."""
        if not self.detects:
            return self.ood_score(image) <= self.ood_threshold
        _, height, width = self.shape
        if tuple(image.shape[2:]) != (height, width):
            image = F.interpolate(image, size=(height, width), mode="bilinear", antialias=True)
        maps = self.network.maps(image)
        sure = self.unsure(self.read(maps)) <= self.ood_threshold
        return sure & (self.detector(maps).float() <= self.detector_threshold)
