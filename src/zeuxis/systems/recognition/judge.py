"""The judge: reads a world's factors off a picture, and says when a picture is not of that world.

Because a world knows what it drew, the judge's lessons are exact and endless; so it can tell whether
a picture that a model made holds what its caption asked. Cross-entropy for every factor, summed; the
right to abstain after Lee et al. 2018, "A simple unified framework for detecting out-of-distribution
samples and adversarial attacks" (arXiv:1807.03888). Symbols -> code:
    f(x) -> encode    y_f -> factors[:, f]    mu, Sigma -> familiarity.mean, familiarity.covariance
    M(x) -> strangeness
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.nn.familiarity import Familiarity
from zeuxis.nn.features import Classifier as Network
from zeuxis.nn.jitter import grain, relight, soften

CALIBRATE_EVERY = 5  # rounds: the statistics need not follow every step


class Judge(System):
    """One player with a linear head for each factor over shared features.

    Training pictures are relit by up to ``relight``, grained by up to ``grain`` and softened, for the
    pictures to be judged are made by models and are never as clean as the world's own. They are not
    moved or turned: where things are is one of the questions. ``trust`` is the share of the world's
    own pictures that the judge is to recognise as such.
    """

    card = Card(
        "judge",
        title="Judge of a world",
        family="recognition",
        year=2018,
        paper="1807.03888",
        verbs={"encode", "classify"},
        needs={"factors"},
        departures=(
            "One Gaussian over the features of all pictures, as factors combine into too many classes to fit each.",
            "Running statistics of the last layer, gathered while training, in place of a pass over several layers.",
            "No input perturbation and no fit to foreign data: the limit is a quantile of the world's own scores.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        factors: tuple[tuple[str, int], ...] = (),
        widths: tuple[int, ...] = (32, 64, 128),
        features: int = 256,
        relight: float = 0.1,
        grain: float = 0.15,
        trust: float = 0.99,
        lr: float = 2e-3,
    ) -> None:
        super().__init__()
        if not factors:
            raise UsageError("a judge needs data that knows its factors: choose a world, such as 'scenes'")
        self.shape = Shape(*shape)
        self.names = tuple(str(name) for name, _ in factors)
        self.relight, self.grain, self.lr = relight, grain, lr
        heads = tuple(int(values) for _, values in factors)
        self.network = Network(self.shape, heads, widths=tuple(widths), features=features)
        self.familiarity = Familiarity(features, trust)

    def players(self) -> tuple[Player, ...]:
        return (
            Player(
                "judge",
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

    def moves(self) -> tuple[Move, ...]:
        return (Move("judge", self.learn),)

    def learn(self, turn: Turn) -> Tensor:
        """-sum_f log p(y_f | x)."""
        factors = turn.batch.condition.factors
        assert factors is not None  # the card needs them
        image = grain(soften(relight(turn.batch.image, turn.rng, self.relight), turn.rng), turn.rng, self.grain)
        features = self.encode(image)
        turn.memo["features"] = features.detach()
        logits = self.network.read(features)
        turn.note(accuracy=(_chosen(logits) == factors).all(1).float().mean())
        return torch.stack([F.cross_entropy(k.float(), y) for k, y in zip(logits, factors.T, strict=True)]).sum()

    def after_round(self, turn: Turn) -> None:
        if turn.round % CALIBRATE_EVERY == 0:
            self.familiarity.update(turn.memo["features"])

    def encode(self, image: Tensor) -> Tensor:
        """Features ``(B, D)`` of images ``(B, C, H, W)`` in [-1, 1]."""
        return self.network.features(image)

    def classify(self, image: Tensor) -> tuple[Tensor, ...]:
        """Logits ``(B, K_f)``, one tensor per factor in the order of ``names``."""
        return self.network(image)

    def read(self, image: Tensor) -> Tensor:
        """The likeliest value of every factor, int64 ``(B, F)``."""
        return _chosen(self.classify(image))

    def strangeness(self, image: Tensor) -> Tensor:
        """How foreign pictures are to the world, ``(B,)``: about 1 for its own, without upper bound."""
        return self.familiarity.strangeness(self.encode(image))

    def knows(self, image: Tensor) -> Tensor:
        """Which pictures are like the world's own, bool ``(B,)``; of the others the judge's reading means nothing."""
        return self.familiarity.familiar(self.encode(image))


def _chosen(logits: Sequence[Tensor]) -> Tensor:
    return torch.stack([k.argmax(1) for k in logits], 1)
