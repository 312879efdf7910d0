"""A classifier, trained for its features: the space in which sets of pictures are compared.

The Fréchet distance and its kin need features that suit the data at hand. Inception's suit
photographs; for clothing of 32 pixels a small network trained on its labels suits better, costs
nothing and ships with the package. Trained by maximum likelihood, as in LeCun et al. 1998,
"Gradient-based learning applied to document recognition", Proc. IEEE 86(11). Symbols -> code:
    x -> image    y -> label    p(y | x) = softmax(logits)    penultimate layer -> encode
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Turn
from zeuxis.nn.augment import color_jitter, random_flip, random_shift
from zeuxis.nn.features import FeatureNetwork
from zeuxis.systems.recognition._family import FeatureClassifier


class Classifier(FeatureClassifier):
    """One player who lowers the cross-entropy of labels.

    Args:
        widths: channels of the stages; each halves the picture's sides until one has 4 pixels.
        features: numbers of the feature vector, D.
        shift: pixels, at most, by which training pictures are shifted along either axis; a matter of the pictures'
            side.
        color_jitter: by how much, at most, the contrast of training pictures is multiplied (1 plus or minus it) and
            their brightness changed.
        mirror: whether training pictures are flipped from left to right at random.
    """

    card = Card(
        "classifier",
        title="Classifier",
        family="recognition",
        year=1998,
        paper="LeCun et al. 1998, Proc. IEEE 86(11)",
        verbs={"encode", "classify"},
        needs={"label"},
        departures=(
            "A modern trunk (3x3 convolutions, group normalisation, SiLU) in place of LeNet's.",
            "Training pictures are shifted, jittered and flipped where the paper's were distorted.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        widths: tuple[int, ...] = (32, 64, 128),
        features: int = 256,
        shift: int = 2,
        color_jitter: float = 0.1,
        mirror: bool = False,
        lr: float = 2e-3,
    ) -> None:
        super().__init__()
        if classes < 2:
            raise UsageError(f"a classifier needs data with 2 classes or more, not {classes}: choose labelled data")
        self.shape = Shape(*shape)
        self.shift, self.color_jitter, self.mirror, self.lr = shift, color_jitter, mirror, lr
        self.network = FeatureNetwork(self.shape, (classes,), widths=tuple(widths), features=features)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.learn),)

    def learn(self, turn: Turn) -> Tensor:
        """-log p(y | x)."""
        label = turn.batch.condition.label
        assert label is not None  # the card needs it
        image = color_jitter(random_shift(turn.batch.image, turn.rng, self.shift), turn.rng, self.color_jitter)
        if self.mirror:
            image = random_flip(image, turn.rng)
        (logits,) = self.classify(image)  # (B, K)
        turn.note(accuracy=(logits.argmax(1) == label).float().mean())
        return F.cross_entropy(logits.float(), label)
