"""DeblurGAN: sharpen pictures against a Wasserstein critic.

Kupyn, Budzan, Mykhailych, Mishkin and Matas 2018, "DeblurGAN: blind motion deblurring using conditional adversarial
networks" (arXiv:1711.07064). Symbols -> code:
    I_B -> source    I_S -> image    G -> network    D -> critic    phi -> features    lambda -> content
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.losses.adversarial import Wasserstein
from zeuxis.losses.penalty import gradient_penalty
from zeuxis.losses.reconstruction import l2
from zeuxis.nn.patch_gan import PatchCritic, must_fit_patches
from zeuxis.nn.residual_generator import ResidualGenerator
from zeuxis.systems.restoration._family import FeatureSpace, PictureRestorer, scale_between


class DeblurGAN(PictureRestorer):
    """Two players: a residual generator of what is to be added to the blurred picture, and a critic of patches.

    Args:
        ngf: channels of the generator at the picture's side.
        blocks: residual blocks of the generator.
        ndf: channels of the critic's first layer, at half the picture's side; they double from layer to layer, up to 8
            times.
        layers: strided convolutions of the critic: one of its logits sees 16 (1), 34 (2) or 70 pixels (3) a side.
        content: weight of the content loss.
        features: a trained system whose ``encode`` is the space of the content loss; none measures it between pixels.
        penalty: weight of the squared distance of the critic's gradient norm from 1.
        critic_steps: moves of the critic a round.
        lr: learning rate of both players.
    """

    card = Card(
        "deblurgan",
        title="DeblurGAN",
        family="restoration",
        year=2018,
        paper="1711.07064",
        needs={"source"},
        departures=(
            "The content loss compares codes of a given system, or pixels: VGG's weights do not ship.",
            "Residual blocks have two convolutions; an error in the authors' program left one, of which the often "
            "cited 6.07 million parameters come. No dropout.",
            "The penalty is of each picture's gradient, at a point drawn for each; the program's is of each pixel's.",
            "Each of the critic's moves has a batch of its own; the program repeats one.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        source_shape: Shape | None = None,
        ngf: int = 64,
        blocks: int = 9,
        ndf: int = 64,
        layers: int = 3,
        content: float = 100.0,
        features: System | None = None,
        penalty: float = 10.0,
        critic_steps: int = 5,
        lr: float = 1e-4,
    ) -> None:
        super().__init__()
        self.shape, self.lr = Shape(*shape), lr
        self.content, self.penalty, self.critic_steps = content, penalty, critic_steps
        if scale_between(self.shape, None if source_shape is None else Shape(*source_shape), "deblurgan") != 1:
            raise UsageError("'deblurgan' keeps a picture's size: use --pair motion:9, or sr-resnet to enlarge")
        must_fit_patches(self.shape, layers)
        self.network = ResidualGenerator(self.shape.channels, ngf=ngf, blocks=blocks)  # G
        self.critic = PatchCritic(self.shape.channels, ndf=ndf, layers=layers)  # D
        [*self.critic.parameters()][-1].requires_grad_(False)  # a bias of all logits, which the loss does not see
        self.loss = Wasserstein()
        self.space = None if features is None else FeatureSpace(features, self.shape)
        if features is not None:
            self.features = self.freeze(features)

    def players(self) -> tuple[Player, ...]:
        return (
            Player("critic", (self.critic,), lr=self.lr, betas=(0.5, 0.999), decay="linear-after-half"),
            Player("network", (self.network,), lr=self.lr, betas=(0.5, 0.999), decay="linear-after-half"),
        )

    def moves(self) -> tuple[Move, ...]:
        return (Move("critic", self.criticise, times=self.critic_steps), Move("network", self.sharpen))

    def criticise(self, turn: Turn) -> Tensor:
        """Eq. 4, as D sees it, with the gradient penalty."""
        image = turn.batch.image
        with torch.no_grad():
            made = self.made_of(turn.batch.condition).float()
        loss = self.loss.critic(self.critic(image), self.critic(made))
        slope = gradient_penalty(self.critic, image, made, turn.rng)
        turn.note(distance=-loss, slope=slope)
        return loss + self.penalty * slope

    def sharpen(self, turn: Turn) -> Tensor:
        """Eq. 3: L_GAN + lambda L_X."""
        image, made = turn.batch.image, self.made_of(turn.batch.condition)
        content = l2(made, image) if self.space is None else self.space.distance(made, image, l2)  # Eq. 5
        fooled = self.loss.generator(self.critic(made))
        turn.note(content=content, fooled=fooled)
        return self.content * content + fooled
