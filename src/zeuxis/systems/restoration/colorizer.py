"""Colorful image colorization: colour as a choice among many, rare ones weighed more.

Zhang, Isola and Efros 2016 (arXiv:1603.08511). Symbols -> code:
    X -> light    Y -> image    Z -> soft    Z^ -> logits    Q -> bins    v -> weights    p~ -> prior
    lambda -> uniform    T -> annealing

Axes: Q bins of colour, h and w a quarter of the picture's sides.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, Turn
from zeuxis.nn.colour_network import STEP, ColourNetwork
from zeuxis.nn.lab import rgb_to_lab
from zeuxis.systems.restoration._family import PictureRestorer, scale_between

NEIGHBOURS, SIGMA = 5, 5.0  # bins that a colour is spread over, and how widely (section 2.1)
HORIZON = 1000  # rounds that the running prior averages over


class Colorizer(PictureRestorer):
    """One player, who lowers the cross-entropy of each pixel's colour, weighed by how rare it is.

    Args:
        width: channels of the first block; there are up to eight times as many.
        uniform: share of the uniform distribution in the prior that colours are weighed by, lambda; 1 weighs all alike.
        annealing: temperature T at which colours are averaged in the end: 1 is their mean, near 0 the likeliest one.
        lr: learning rate.
    """

    card = Card(
        "colorizer",
        title="Colorful image colorization",
        family="restoration",
        year=2016,
        paper="1603.08511",
        needs={"source"},
        departures=(
            "Bins are the 261 that colours of sRGB fall into; the authors' list has 313, with a margin.",
            "The prior of colours is a running mean over the training's own pictures, not counted before.",
            "The learning rate falls along a cosine, not by steps.",
        ),
    )

    prior: Tensor
    seen: Tensor
    network: ColourNetwork

    def __init__(
        self,
        shape: Shape,
        *,
        source_shape: Shape | None = None,
        width: int = 64,
        uniform: float = 0.5,
        annealing: float = 0.38,
        lr: float = 3e-5,
    ) -> None:
        super().__init__()
        self.shape, self.uniform, self.lr = Shape(*shape), uniform, lr
        same = scale_between(self.shape, None if source_shape is None else Shape(*source_shape), "colorizer") == 1
        if not same or self.shape.channels != 3 or self.shape.height % STEP or self.shape.width % STEP:
            raise UsageError(
                f"'colorizer' takes pictures of 3 channels whose sides are multiples of {STEP}, and grey ones of the "
                "same size: use --pair grey, and set size"
            )
        if not 0 < uniform <= 1:
            raise UsageError(f"model.uniform is {uniform}: give a share above 0, at most 1")
        if annealing <= 0:
            raise UsageError(f"model.annealing is {annealing}: give a temperature above 0")
        self.network = ColourNetwork(width=width, annealing=annealing)
        count = len(self.network.bins)
        self.register_buffer("prior", torch.full((count,), 1 / count))  # of bins, as the pictures have them
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))  # rounds

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.network,), lr=self.lr, betas=(0.9, 0.99), weight_decay=1e-3, decay="cosine"),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.colour),)

    def colour(self, turn: Turn) -> Tensor:
        """Eq. 2."""
        lab = rgb_to_lab((turn.batch.image.float() + 1) / 2)
        light = rgb_to_lab((self.source_of(turn.batch.condition).float() + 1) / 2)[:, :1]
        near, share = self.soft(avg_pool2d(lab[:, 1:], 4))  # (B, 5, h, w) each
        log_prob = self.network.logits(light).float().log_softmax(1)  # (B, Q, h, w)
        loss = -(share * log_prob.gather(1, near)).sum(1) * self.weights()[near[:, 0]]
        bins = torch.zeros(len(near), len(self.prior), device=near.device)
        turn.memo["bins"] = bins.scatter_add_(1, near.flatten(1), share.flatten(1)) / share[0, 0].numel()  # (B, Q)
        return loss.mean()

    def soft(self, ab: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest bins of colours ``(B, 2, h, w)``, nearest first, and their shares: ``(B, 5, h, w)`` each."""
        b, _, h, w = ab.shape
        apart = torch.cdist(ab.permute(0, 2, 3, 1).reshape(-1, 2), self.network.bins)  # (B h w, Q)
        distance, near = apart.topk(NEIGHBOURS, dim=1, largest=False)
        share = (-distance.square() / (2 * SIGMA**2)).softmax(1)

        def mapped(x: Tensor) -> Tensor:
            return x.view(b, h, w, NEIGHBOURS).permute(0, 3, 1, 2)

        return mapped(near), mapped(share)

    def weights(self) -> Tensor:
        """w (Eq. 4) ``(Q,)``, of which the mean over the prior is 1."""
        kernel = (-torch.cdist(self.network.bins, self.network.bins).square() / (2 * SIGMA**2)).softmax(1)
        prior = (self.prior[:, None] * kernel).sum(
            0
        )  # p~, smoothed; no product of matrices, which autocast would round
        rare = 1 / ((1 - self.uniform) * prior + self.uniform / len(prior))
        return rare / (prior * rare).sum()

    def after_round(self, turn: Turn) -> None:
        """The prior moves towards the bins of the batch."""
        share = 1 / min(int(self.seen) + 1, HORIZON)
        self.prior.lerp_(turn.whole("bins").mean(0), share)
        self.seen += 1
