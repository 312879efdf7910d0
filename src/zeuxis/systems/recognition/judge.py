"""The judge: reads a world's factors off a picture, and says when a picture is not of that world.

Because a world knows what it drew, the judge's lessons are exact and endless; so it can tell whether
a picture that a model made holds what its caption asked. Cross-entropy for every factor, summed; the
right to abstain after Hendrycks et al. 2019, "Deep anomaly detection with outlier exposure"
(arXiv:1812.04606). Symbols -> code:
    x ~ D_in -> image    x' ~ D_out -> foreign    y_f -> factors[:, f]    lambda -> exposure
    f_k(x) -> softmax(logits)[k]    U -> the uniform distribution over a factor's values
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Turn
from zeuxis.metrics.oracle import UNSAID
from zeuxis.nn.augment import augmented, make_outliers
from zeuxis.nn.features import Classifier as Network
from zeuxis.systems.recognition._family import OODDetector, Recogniser


class Judge(OODDetector, Recogniser):
    """One player with a linear head for each factor over shared features.

    Training pictures are relit by up to ``color_jitter``, grained by up to ``gaussian_noise`` and softened, for the
    pictures to be judged are made by models and are never as clean as the world's own. They are not
    moved or turned: where things are is one of the questions. ``coverage`` is the share of such pictures
    that the judge is to recognise as the world's own. A factor that a picture leaves open (``UNSAID``)
    is no part of its lesson.
    """

    card = Card(
        "judge",
        title="Judge of a world",
        family="recognition",
        year=2019,
        paper="1812.04606",
        verbs={"encode", "classify", "in_distribution"},
        needs={"factors"},
        departures=(
            "Foreign pictures are made from the batch (mixed, negated, painted over), not taken from another dataset.",
            "A picture has several factors: the losses and the score are sums over them.",
            "They number a quarter of the batch; the paper takes twice as many as of the world's own.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        factors: tuple[tuple[str, int], ...] = (),
        widths: tuple[int, ...] = (32, 64, 128),
        features: int = 256,
        color_jitter: float = 0.1,
        gaussian_noise: float = 0.15,
        exposure: float = 0.5,
        coverage: float = 0.99,
        lr: float = 2e-3,
    ) -> None:
        super().__init__()
        if not factors:
            raise UsageError("a judge needs data that knows its factors: choose a world, such as 'scenes'")
        self.shape = Shape(*shape)
        self.names = tuple(str(name) for name, _ in factors)
        self.color_jitter, self.gaussian_noise, self.exposure, self.lr = color_jitter, gaussian_noise, exposure, lr
        heads = tuple(int(values) for _, values in factors)
        self.network = Network(self.shape, heads, widths=tuple(widths), features=features)
        self.watch(coverage)

    def moves(self) -> tuple[Move, ...]:
        return (Move("reader", self.learn),)

    def learn(self, turn: Turn) -> Tensor:
        """E_in [sum_f -log f_y(x)] + lambda E_out [sum_f H(U; f(x'))]  (Eq. 1 with section 4's loss)."""
        factors = turn.batch.condition.factors
        assert factors is not None  # the card needs them
        image = augmented(turn.batch.image, turn.rng, self.color_jitter, self.gaussian_noise)
        foreign = make_outliers(image[: -(-len(image) // 4)], turn.rng)
        logits = [k.float() for k in self.classify(torch.cat([image, foreign]))]
        own, out = [k[: len(image)] for k in logits], [k[len(image) :] for k in logits]
        turn.memo["ood_score"] = _doubt(own).detach()
        reading = torch.stack([_surprise(k, y) for k, y in zip(own, factors.T, strict=True)]).sum()
        undecided = torch.stack([-k.log_softmax(1).mean() for k in out]).sum()
        right = (_chosen(own) == factors) | (factors == UNSAID)
        turn.note(accuracy=right.all(1).float().mean(), reading=reading, undecided=undecided)
        return reading + self.exposure * undecided

    def read(self, image: Tensor) -> Tensor:
        """The likeliest value of every factor, int64 ``(B, F)``."""
        return _chosen(self.classify(image))

    def ood_score(self, image: Tensor) -> Tensor:
        """-sum_f log max_k f_k(x), ``(B,)``, in nats: 0 for a picture that the judge reads with certainty."""
        return _doubt(self.classify(image))


def _surprise(logits: Tensor, value: Tensor) -> Tensor:
    """The mean cross-entropy of one factor over the pictures that say it; 0 where none does."""
    return F.cross_entropy(logits, value, ignore_index=UNSAID, reduction="sum") / (value != UNSAID).sum().clamp(min=1)


def _chosen(logits: Sequence[Tensor]) -> Tensor:
    return torch.stack([k.argmax(1) for k in logits], 1)


def _doubt(logits: Sequence[Tensor]) -> Tensor:
    return -torch.stack([k.float().log_softmax(1).amax(1) for k in logits]).sum(0)
