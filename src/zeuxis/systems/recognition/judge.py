"""The judge: predicts a world's factors from a picture, and says when a picture is out of distribution.

A world's labels are exact and unlimited; so a judge trained on them can say whether a generated picture
holds what its caption states. Cross-entropy for every factor, summed; out-of-distribution detection
after Hendrycks et al. 2019, "Deep anomaly detection with outlier exposure"
(arXiv:1812.04606). Symbols -> code:
    x ~ D_in -> image    x' ~ D_out -> outliers    y_f -> factors[:, f]    lambda -> exposure
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
from zeuxis.game import Turn
from zeuxis.metrics.oracle import UNSAID
from zeuxis.nn.augment import augmented
from zeuxis.nn.features import FeatureNetwork
from zeuxis.nn.outliers import CLASSIC, make_outliers
from zeuxis.systems.recognition._family import FeatureClassifier, OODDetector


class Judge(OODDetector, FeatureClassifier):
    """One player with a linear head for each factor over shared features.

    Training pictures are jittered, blurred and given noise, for the pictures to be judged are generated and never as
    clean as the world's. They are not shifted or flipped: where things are is one of the factors. A factor that a
    picture leaves open (``UNSAID``) has no loss.

    Args:
        widths: channels of the stages; each halves the picture's sides until one has 4 pixels.
        features: numbers of the feature vector, D.
        color_jitter: by how much, at most, the contrast of training pictures is multiplied (1 plus or minus it) and
            their brightness changed.
        gaussian_noise: standard deviation, at most, of noise on training pictures, whose values are in [-1, 1]; what is
            finer drowns in it.
        exposure: weight of the loss on outliers, of which nothing should be certain.
        coverage: share of such pictures that are to count as in distribution.
        detector: channels of the stages of the outliers' detector; none for no detector.
        detector_depth: convolutions of each of its stages.
        detector_picture: whether it sees the picture itself beside the network's maps of it.
        foreign: worlds whose pictures are outliers too, beside those made from the batch.
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
            "Outliers are made from the batch (mixed, negated, painted over), not taken from another dataset.",
            "A picture has several factors: the losses and the score are sums over them.",
            "They number a quarter of the batch; the paper takes twice as many as of the training pictures.",
        ),
    )

    network: FeatureNetwork

    def __init__(
        self,
        shape: Shape,
        *,
        factors: tuple[tuple[str, int], ...] = (),
        frames: int = 1,
        widths: tuple[int, ...] = (32, 64, 128),
        features: int = 256,
        color_jitter: float = 0.1,
        gaussian_noise: float = 0.15,
        exposure: float = 0.5,
        coverage: float = 0.99,
        detector: tuple[int, ...] = (),
        detector_depth: int = 1,
        detector_picture: bool = False,
        foreign: tuple[str, ...] = (),
        lr: float = 2e-3,
    ) -> None:
        super().__init__()
        if not factors:
            raise UsageError("a judge needs data with factors: choose a world, such as 'scenes'")
        self.shape = Shape(*shape)
        self.names = tuple(str(name) for name, _ in factors)
        self.color_jitter, self.gaussian_noise, self.exposure, self.lr = color_jitter, gaussian_noise, exposure, lr
        heads = tuple(int(values) for _, values in factors)
        self.network = FeatureNetwork(self.shape, heads, widths=tuple(widths), features=features)
        self.init_detector(coverage, tuple(detector), detector_depth, detector_picture, tuple(foreign), frames)

    def learn(self, turn: Turn) -> Tensor:
        """E_in [sum_f -log f_y(x)] + lambda E_out [sum_f H(U; f(x'))]  (Eq. 1 with section 4's loss)."""
        factors = turn.batch.condition.factors
        assert factors is not None  # the card needs them
        image = augmented(turn.batch.image, turn.rng, self.color_jitter, self.gaussian_noise)
        outliers = make_outliers(image[: -(-len(image) // 4)], turn.rng, CLASSIC)
        logits = [k.float() for k in self.classify(torch.cat([image, outliers]))]
        own, out = [k[: len(image)] for k in logits], [k[len(image) :] for k in logits]
        turn.memo["ood_score"] = _ood_score(own).detach()
        stated = turn.denominator([_stated(part.batch.condition.factors) for part in turn.parts])  # (F,)
        every = zip(own, factors.T, stated, strict=True)
        cross_entropy = torch.stack([_cross_entropy(k, y, count) for k, y, count in every]).sum()
        exposed = torch.stack([-k.log_softmax(1).mean() for k in out]).sum()
        right = (_likeliest(own) == factors) | (factors == UNSAID)
        turn.note(accuracy=right.all(1).float().mean(), cross_entropy=cross_entropy, outliers=exposed)
        return cross_entropy + self.exposure * exposed

    def predict(self, image: Tensor) -> Tensor:
        """The likeliest value of every factor, int64 ``(B, F)``."""
        return _likeliest(self.classify(image))

    def unsure(self, output: Sequence[Tensor]) -> Tensor:
        """-sum_f log max_k f_k(x), ``(B,)``, in nats: 0 where every prediction is certain."""
        return _ood_score(output)


def _stated(factors: Tensor | None) -> Tensor:
    """How many pictures state each factor, int64 ``(F,)``."""
    assert factors is not None  # the card needs them
    return (factors != UNSAID).sum(0)


def _cross_entropy(logits: Tensor, value: Tensor, count: Tensor) -> Tensor:
    """The mean cross-entropy of one factor over the ``count`` pictures that state it; 0 where none does."""
    return F.cross_entropy(logits, value, ignore_index=UNSAID, reduction="sum") / torch.where(count > 0, count, 1)


def _likeliest(logits: Sequence[Tensor]) -> Tensor:
    return torch.stack([k.argmax(1) for k in logits], 1)


def _ood_score(logits: Sequence[Tensor]) -> Tensor:
    return -torch.stack([k.float().log_softmax(1).amax(1) for k in logits]).sum(0)
