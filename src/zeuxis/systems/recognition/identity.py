"""Identity: an embedding in which pictures of one person lie together, whatever else differs.

Supervised contrastive learning, Khosla et al. 2020 (arXiv:2004.11362), with two pictures of each person;
out-of-distribution pictures are given short vectors, after Dhamija et al. 2018, "Reducing network agnostophobia"
(arXiv:1811.04110). Symbols -> code:
    z = F(x) / |F(x)| -> encode    tau -> temperature    P(i) -> the other picture of the same person
    xi -> LENGTH    D_b -> outliers    lambda -> exposure
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.game import Turn
from zeuxis.losses.contrastive import supervised_contrastive
from zeuxis.metrics.verification import equal_error
from zeuxis.nn.augment import augmented
from zeuxis.nn.features import FeatureNetwork
from zeuxis.nn.outliers import CLASSIC, make_outliers
from zeuxis.systems.recognition._family import OODDetector

LENGTH = 10.0  # of in-distribution vectors, at least


class Identity(OODDetector):
    """One player. ``image`` and ``source`` of an example show one subject; other examples show others.

    ``verify`` compares the cosine of two vectors with ``threshold``: the running value at which, in the training
    batches, as many pairs of the same subject were refused as pairs of different ones accepted. Pictures are jittered,
    blurred and given noise as the judge's are, and not shifted: where things are in a face is who it is.

    Args:
        widths: channels of the stages; each halves the picture's sides until one has 4 pixels.
        features: numbers of the feature vector below the embedding.
        embedding: numbers of the vector that says who it is, D.
        temperature: of the contrastive loss; smaller minds the nearest strangers more.
        color_jitter: by how much, at most, the contrast of training pictures is multiplied (1 plus or minus it) and
            their brightness changed.
        gaussian_noise: standard deviation, at most, of noise on training pictures, whose values are in [-1, 1].
        exposure: weight, at the end of training, of the loss that makes vectors long, and short of outliers.
        coverage: share of training pictures to count as in distribution.
        detector: channels of the stages of the outliers' detector; none for no detector.
        foreign: worlds whose pictures are outliers too, beside those made from the batch.
    """

    card = Card(
        "identity",
        title="Identity by contrast",
        family="recognition",
        year=2020,
        paper="2004.11362",
        verbs={"encode", "verify", "in_distribution"},
        needs={"source"},
        departures=(
            "The embedding that is compared is the one that is trained: no projection head is taken off afterwards.",
            "The vectors of outliers, made from the batch, are drawn to 0 and those of training pictures kept from it.",
        ),
    )
    network: FeatureNetwork
    threshold: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        widths: tuple[int, ...] = (32, 64, 128),
        features: int = 256,
        embedding: int = 64,
        temperature: float = 0.1,
        color_jitter: float = 0.1,
        gaussian_noise: float = 0.05,
        exposure: float = 0.05,
        coverage: float = 0.99,
        detector: tuple[int, ...] = (),
        foreign: tuple[str, ...] = (),
        lr: float = 2e-3,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.temperature, self.color_jitter, self.gaussian_noise = temperature, color_jitter, gaussian_noise
        self.exposure, self.lr = exposure, lr
        self.network = FeatureNetwork(self.shape, (embedding,), widths=tuple(widths), features=features)
        self.init_detector(coverage, tuple(detector), tuple(foreign))
        self.register_buffer("threshold", torch.zeros(()))

    def learn(self, turn: Turn) -> Tensor:
        """L_out^sup (Khosla et al., Eq. 2) and lambda (max(xi - |F(x)|, 0)^2, or |F(x)|^2 of D_b) (Dhamija et al.)."""
        image = augmented(self.pictures(turn), turn.rng, self.color_jitter, self.gaussian_noise)
        outliers = make_outliers(image[: -(-len(image) // 4)], turn.rng, CLASSIC)
        vectors = self.vectors(torch.cat([image, outliers]))
        own, out = vectors[: len(image)], vectors[len(image) :]
        pairs = len(turn.batch)
        who = torch.arange(pairs, device=image.device).repeat(2)
        z = F.normalize(own)
        contrast = supervised_contrastive(z, who, self.temperature)
        length = (LENGTH - own.norm(dim=1)).relu().square().mean() + out.square().sum(1).mean()
        turn.memo["ood_score"] = -own.detach().norm(dim=1)
        turn.memo["pairs"] = z[:pairs].detach(), z[pairs:].detach()  # (B, D) each
        turn.note(contrast=contrast, length=length)
        # Gradually: from the start, the shortest way to long vectors is one common direction for all pictures.
        return contrast + turn.progress * self.exposure * length

    def pictures(self, turn: Turn) -> Tensor:
        """Both pictures of every pair ``(2B, C, H, W)``: the first ones, then the second."""
        source = turn.batch.condition.source
        assert source is not None  # the card needs it
        return torch.cat([turn.batch.image, source])

    def calibrate(self, turn: Turn) -> None:
        """Move the threshold towards that of equal errors in this round, and that of vectors' lengths likewise."""
        own, other = turn.whole("pairs")
        cosines = own @ other.T  # (B, B)
        others = ~torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)
        if others.any():  # a batch of one person has no impostor pairs
            _, threshold = equal_error(cosines.diagonal(), cosines[others])
            self.threshold.lerp_(torch.as_tensor(threshold).to(self.threshold), self.ema_weight)
        super().calibrate(turn)

    def vectors(self, image: Tensor) -> Tensor:
        """F(x) ``(B, D)``, float32: its direction says who, its length how much it is in distribution."""
        (vector,) = self.network(image)
        return vector.float()

    def encode(self, image: Tensor) -> Tensor:
        """z ``(B, D)`` of length 1."""
        return F.normalize(self.vectors(image))

    def verify(self, image: Tensor, other: Tensor) -> Tensor:
        """The cosine of two pictures less the threshold, pair by pair ``(B,)``."""
        return (self.encode(image) * self.encode(other)).sum(1) - self.threshold

    def unsure(self, output: Sequence[Tensor]) -> Tensor:
        """-|F(x)| ``(B,)``."""
        (vector,) = output
        return -vector.float().norm(dim=1)
