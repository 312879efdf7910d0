"""pix2pix: translate a picture into another kind, learnt from pairs.

Isola, Zhu, Zhou and Efros 2017, "Image-to-image translation with conditional adversarial networks"
(arXiv:1611.07004). Symbols -> code:
    x -> source    y -> image    z -> the generator's dropout    G -> generator    D -> critic    lambda -> l1

Axes: C_s channels of a source.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.losses.reconstruction import l1 as mean_absolute
from zeuxis.nn.norm import Norm
from zeuxis.nn.patch_gan import patch_critic
from zeuxis.nn.skip_unet import SkipUNet
from zeuxis.rng import ImageRng, Rng
from zeuxis.systems.translation._family import check_counts, check_patch, check_sides, source_at


class Pix2Pix(System):
    """Two players: a U-Net that translates, and a critic of pictures beside their sources, patch by patch.

    Args:
        ngf: channels of the generator at half the picture's side; they double from layer to layer, up to 8 times.
        depth: how often the generator halves the side; 8 leave one pixel of 256.
        ndf: channels of the critic's first layer.
        patch: pixels a side that each of the critic's logits sees: 1, 16, 34, 70, 142 or 286, the whole of 256.
        l1: weight of the mean absolute difference from the picture that belongs to the source.
        adversarial: weight of the critic's judgement; at 0 there is no critic, and what is uncertain is blurred.
        norm: "own" normalises each picture by itself, in sampling as in training: the paper's batch norm at its batch
            of one. "batch" normalises over the batch, and by running statistics in sampling: for larger batches.
        dropped: layers of the generator with dropout, from the second of those that double.
    """

    card = Card(
        "pix2pix",
        title="pix2pix",
        family="translation",
        year=2017,
        paper="1611.07004",
        needs={"source"},
        knobs=(Knob("dropout", "switch", "the noise of the paper, in sampling too", True),),
        departures=(
            "Batch norm is of each picture by itself, unless norm is batch: the same at the paper's batch of one.",
            "Dropout follows the authors' program of today: the layer after the innermost has none.",
            "One generated batch serves both players, the generator first.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        source_shape: Shape | None = None,
        ngf: int = 64,
        depth: int = 8,
        ndf: int = 64,
        patch: int = 70,
        l1: float = 100.0,
        adversarial: float = 1.0,
        norm: Literal["own", "batch"] = "own",
        dropped: int = 3,
        lr: float = 2e-4,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        check_counts("pix2pix", 1, {"depth": depth})
        check_counts("pix2pix", 0, {"dropped": dropped})
        check_sides("pix2pix", self.shape, 2**depth, keyword="depth")
        check_patch("pix2pix", self.shape, patch)
        self.l1, self.adversarial, self.lr, self.stride = l1, adversarial, lr, 2**depth
        inputs, channels = (self.shape if source_shape is None else Shape(*source_shape)).channels, self.shape.channels
        over = Norm.BATCH if norm == "batch" else Norm.INSTANCE_AFFINE
        self.generator = SkipUNet(inputs, channels, ngf=ngf, depth=depth, dropped=dropped, norm=over)  # G
        self.critic = patch_critic(inputs + channels, patch, ndf=ndf, norm=over) if adversarial else None  # D
        self.loss = NonSaturating()

    def players(self) -> tuple[Player, ...]:
        # section 3.3, and the authors' program: the same rate for half of the training, then linearly to zero
        nets = {"generator": self.generator} | ({} if self.critic is None else {"critic": self.critic})
        return tuple(
            Player(name, (net,), lr=self.lr, betas=(0.5, 0.999), decay="linear-after-half")
            for name, net in nets.items()
        )

    def moves(self) -> tuple[Move, ...]:
        translate = Move("generator", self.translate)
        return (translate,) if self.critic is None else (translate, Move("critic", self.criticise))

    def translate(self, turn: Turn) -> Tensor:
        """Eq. 4, as G sees it."""
        x, y = self.pair(turn)
        fake = self.made_of(x, turn.rng)
        turn.memo["fake"] = fake.detach()
        away = mean_absolute(fake, y)  # Eq. 3
        turn.note(l1=away)
        loss = self.l1 * away
        if self.critic is not None:
            judged = self.loss.generator(self.critic(torch.cat([x, fake], 1)))  # Eq. 1
            turn.note(adversarial=judged)
            loss = loss + self.adversarial * judged
        return loss

    def criticise(self, turn: Turn) -> Tensor:
        """Eq. 1 as D sees it, which learns half as fast (section 3.3)."""
        assert self.critic is not None
        x, y = self.pair(turn)
        real, fake = (self.critic(torch.cat([x, image], 1)) for image in (y, turn.memo["fake"]))
        loss = 0.5 * self.loss.critic(real, fake)
        turn.note(critic=loss)
        return loss

    def pair(self, turn: Turn) -> tuple[Tensor, Tensor]:
        """x and y of a turn, at one size."""
        y = turn.batch.image
        return source_at(turn.batch.condition, self.shape.at(*y.shape[2:]), "pix2pix"), y

    def made_of(self, x: Tensor, rng: Rng | None) -> Tensor:
        """G(x, z): what the sources ``(B, C_s, H, W)`` become; without ``rng`` nothing is dropped."""
        made: Tensor = self.generator(x, rng)
        return made

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        x = source_at(condition, self.shape, "pix2pix")
        return self.made_of(x, rng if self.settings(how).dropout else None)
