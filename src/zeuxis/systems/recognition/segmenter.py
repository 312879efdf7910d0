"""The segmenter: predicts a picture's layout, a class for every pixel.

Ronneberger, Fischer & Brox 2015, "U-Net: convolutional networks for biomedical image segmentation"
(arXiv:1505.04597). A world's layouts are exact and unlimited. Out-of-distribution detection as
the judge's, after Hendrycks et al. 2019 (arXiv:1812.04606). Symbols -> code:
    p_k(x) -> softmax(logits)[k] at pixel x    l(x) -> layout    E -> the cross-entropy    lambda -> exposure
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Turn
from zeuxis.losses.overlap import soft_jaccard
from zeuxis.nn.augment import augmented
from zeuxis.nn.outliers import CLASSIC, make_outliers
from zeuxis.nn.pixelwise import SegmentationUNet
from zeuxis.systems.recognition._family import OODDetector


class Segmenter(OODDetector):
    """One player who lowers the cross-entropy of every pixel's class.

    Training pictures are jittered, blurred and given noise, as the judge's are, and for the same reason: the pictures
    to be judged are generated.

    Args:
        widths: channels of the U-Net's levels; each halves the picture's sides.
        color_jitter: by how much, at most, the contrast of training pictures is multiplied (1 plus or minus it) and
            their brightness changed.
        gaussian_noise: standard deviation, at most, of noise on training pictures, whose values are in [-1, 1]; parts a
            pixel wide drown in 0.15.
        exposure: weight of the loss on outliers, of which nothing should be certain.
        overlap: weight of a second loss, the classes' intersection over union: without it a part of few pixels, such as
            a nose, counts for next to nothing.
        coverage: share of training pictures to count as in distribution.
        detector: channels of the stages of the outliers' detector; none for no detector.
        foreign: worlds whose pictures are outliers too, beside those made from the batch.
    """

    card = Card(
        "segmenter",
        title="Segmenter of a world",
        family="recognition",
        year=2015,
        paper="1505.04597",
        verbs={"segment", "in_distribution"},
        needs={"layout"},
        departures=(
            "Residual blocks with group normalisation, padded to keep the size, in place of plain unpadded ones.",
            "Every pixel weighs the same (Eq. 2 weighs the gaps between touching cells).",
            "With `overlap`, the soft intersection over union of Rahman & Wang 2016 stands beside the cross-entropy.",
            "On outliers, made from the batch, it is trained to be undecided (outlier exposure).",
        ),
    )

    network: SegmentationUNet

    def __init__(
        self,
        shape: Shape,
        *,
        layout_names: tuple[str, ...] = (),
        widths: tuple[int, ...] = (16, 32, 64),
        color_jitter: float = 0.1,
        gaussian_noise: float = 0.15,
        exposure: float = 0.5,
        overlap: float = 0.0,
        coverage: float = 0.99,
        detector: tuple[int, ...] = (),
        foreign: tuple[str, ...] = (),
        lr: float = 2e-3,
    ) -> None:
        super().__init__()
        if len(layout_names) < 2:
            raise UsageError("a segmenter needs data with a layout of 2 classes or more: choose a world with layouts")
        self.shape = Shape(*shape)
        self.names = tuple(layout_names)
        self.color_jitter, self.gaussian_noise, self.exposure, self.overlap, self.lr = (
            color_jitter,
            gaussian_noise,
            exposure,
            overlap,
            lr,
        )
        self.network = SegmentationUNet(self.shape.channels, len(self.names), widths=tuple(widths))
        self.init_detector(coverage, tuple(detector), tuple(foreign))

    def learn(self, turn: Turn) -> Tensor:
        """E = -log p_l(x)(x), the mean over pixels (Eq. 1, with w = 1), and lambda H(U; p) of outliers."""
        layout = turn.batch.condition.layout
        assert layout is not None  # the card needs it
        image = augmented(turn.batch.image, turn.rng, self.color_jitter, self.gaussian_noise)
        outliers = make_outliers(image[: -(-len(image) // 4)], turn.rng, CLASSIC)
        logits = self.segment(torch.cat([image, outliers])).float()
        own, out = logits[: len(image)], logits[len(image) :]
        turn.memo["ood_score"] = _ood_score(own).detach()
        cross_entropy, exposed = F.cross_entropy(own, layout), -out.log_softmax(1).mean()
        turn.note(accuracy=(own.argmax(1) == layout).float().mean(), cross_entropy=cross_entropy, outliers=exposed)
        loss = cross_entropy + self.exposure * exposed
        return loss + self.overlap * soft_jaccard(own, layout) if self.overlap else loss

    def segment(self, image: Tensor) -> Tensor:
        """Logits ``(B, K, H, W)`` of each pixel's class."""
        logits: Tensor = self.network(image)
        return logits

    def read(self, maps: tuple[Tensor, ...]) -> Tensor:
        return super().read(maps)[:, :, : self.shape.height, : self.shape.width]

    def unsure(self, output: Tensor) -> Tensor:
        """-log max_k p_k, the mean over pixels ``(B,)``, in nats: 0 where every prediction is certain."""
        return _ood_score(output.float())


def _ood_score(logits: Tensor) -> Tensor:
    return -logits.log_softmax(1).amax(1).mean((1, 2))
