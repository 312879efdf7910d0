"""The edge detector: says of every pixel how likely it lies on the outline of a thing.

Xie & Tu 2015, "Holistically-nested edge detection" (arXiv:1504.06375). A world's outlines are exact: where the classes
of its layout meet. Symbols -> code:
    X -> image    Y -> outlines of layout    A_side^(m) -> logits[m]    Y_fuse -> sigmoid(logits[-1])    M -> stages

It learns from outlines and never from a filter's answer, and so reads independently what a model draws that was given
edges found by a filter (`--pair edges`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.data.pairing import outlines
from zeuxis.errors import UsageError
from zeuxis.game import Move, Turn
from zeuxis.losses.balanced import balanced_cross_entropy
from zeuxis.nn.augment import augmented
from zeuxis.nn.holistic import HolisticNet
from zeuxis.systems.recognition._family import OneNetwork


class EdgeDetector(OneNetwork):
    """One player who lowers the cross-entropy of edges at every stage, and of what the stages say together.

    Training pictures are jittered, blurred and given noise, for the pictures that are read may be generated.

    Args:
        widths: channels of the stages; each but the first sees half the sides of the one before.
        depths: convolutions of each stage.
        averaged: whether its answer is the mean of the stages' and of the fused one (Eq. 6), or the fused one alone.
        color_jitter: by how much, at most, the contrast of training pictures is multiplied (1 plus or minus it) and
            their brightness changed.
        gaussian_noise: standard deviation, at most, of noise on training pictures, whose values are in [-1, 1].
    """

    card = Card(
        "edge-detector",
        title="Holistically-nested edge detection",
        family="recognition",
        year=2015,
        paper="1504.06375",
        verbs={"detect_edges"},
        needs={"layout"},
        departures=(
            "Trained from nothing, by AdamW: VGG's weights do not ship.",
            "The maps of the stages are enlarged bilinearly by torch, whose corners lie elsewhere than those of the "
            "authors' fixed deconvolutions.",
            "The fused map's loss is balanced as the others are, as in the authors' program (Eq. 3 leaves it open).",
        ),
    )

    network: HolisticNet

    def __init__(
        self,
        shape: Shape,
        *,
        layout_names: tuple[str, ...] = (),
        widths: tuple[int, ...] = (64, 128, 256, 512, 512),
        depths: tuple[int, ...] = (2, 2, 3, 3, 3),
        averaged: bool = True,
        color_jitter: float = 0.1,
        gaussian_noise: float = 0.1,
        lr: float = 2e-3,
    ) -> None:
        super().__init__()
        if len(layout_names) < 2:
            raise UsageError(
                "an edge detector learns the outlines of a layout of 2 classes or more: choose a world with layouts"
            )
        if len(widths) != len(depths) or not widths or min(*widths, *depths) < 1:
            raise UsageError(f"model.widths={list(widths)}, model.depths={list(depths)}: give one of each for a stage")
        self.shape, self.averaged, self.lr = Shape(*shape), averaged, lr
        self.color_jitter, self.gaussian_noise = color_jitter, gaussian_noise
        self.network = HolisticNet(self.shape.channels, widths=tuple(widths), depths=tuple(depths))

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.learn),)

    def learn(self, turn: Turn) -> Tensor:
        """Eq. 4: L_side, the sum over the stages (Eq. 1, every alpha_m = 1), and L_fuse."""
        layout = turn.batch.condition.layout
        assert layout is not None  # the card needs it
        edges = outlines(layout)
        logits = self.network(augmented(turn.batch.image, turn.rng, self.color_jitter, self.gaussian_noise))
        *sides, fused = (balanced_cross_entropy(each, edges) for each in logits)  # Eq. 2, Eq. 3
        turn.note(fused=fused)
        return torch.stack([*sides, fused]).sum()

    def detect_edges(self, image: Tensor) -> Tensor:
        logits = self.network(image) if self.averaged else self.network(image)[-1:]
        return torch.stack([each.float().sigmoid() for each in logits]).mean(0)  # Eq. 6
