"""DeepDeblur: sharpen pictures from coarse to fine, in several scales at once.

Nah, Kim and Lee 2017, "Deep multi-scale convolutional neural network for dynamic scene deblurring" (arXiv:1612.02177).
Symbols -> code:
    B -> source    S -> image    L -> what the network makes    K -> scales    G -> network    D -> critic
    lambda -> adversarial
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, Turn
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.losses.reconstruction import l2
from zeuxis.nn.multi_scale import MultiScaleNet, StridedCritic, pyramid
from zeuxis.systems.restoration._family import PictureRestorer, scale_between


class DeepDeblur(PictureRestorer):
    """Two players: a network for each scale, which sees what the coarser one made, and a critic of the finest.

    Args:
        scales: K.
        blocks: residual blocks at each scale.
        width: channels within.
        critic_width: channels of the critic; half as many in its first two layers.
        strides: of the critic's convolutions; their product is the side / 4.
        adversarial: weight of the loss against the critic.
        lr: learning rate of both players.
    """

    card = Card(
        "deep-deblur",
        title="DeepDeblur",
        family="restoration",
        year=2017,
        paper="1612.02177",
        needs={"source"},
        departures=("Networks and pyramid as in the authors' program in PyTorch, losses as in the paper.",),
    )

    network: MultiScaleNet

    def __init__(
        self,
        shape: Shape,
        *,
        source_shape: Shape | None = None,
        scales: int = 3,
        blocks: int = 19,
        width: int = 64,
        critic_width: int = 64,
        strides: tuple[int, ...] = (1, 2, 1, 2, 1, 4, 1, 4, 1),
        adversarial: float = 1e-4,
        lr: float = 5e-5,
    ) -> None:
        super().__init__()
        self.shape, self.lr, self.adversarial = Shape(*shape), lr, adversarial
        if scale_between(self.shape, None if source_shape is None else Shape(*source_shape), "deep-deblur") != 1:
            raise UsageError("'deep-deblur' keeps a picture's size: use --pair motion:9, or sr-resnet to enlarge")
        side = 4 * prod(strides)
        if self.shape[1:] != (side, side):
            raise UsageError(
                f"model.strides make a point of pictures of {side} pixels a side, and these are "
                f"{self.shape.width}x{self.shape.height}: set model.strides, whose product is the side / 4"
            )
        self.network = MultiScaleNet(self.shape.channels, scales=scales, blocks=blocks, width=width)  # G
        self.critic = StridedCritic(self.shape.channels, width=critic_width, strides=tuple(strides))  # D
        self.loss = NonSaturating()

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.network,), lr=self.lr), Player("critic", (self.critic,), lr=self.lr))

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.sharpen), Move("critic", self.criticise))

    def sharpen(self, turn: Turn) -> Tensor:
        """Eq. 7: L_cont + lambda L_adv."""
        source, image = (self.source_of(turn.batch.condition) + 1) / 2, (turn.batch.image + 1) / 2
        made = self.network.at_scales(source)
        wanted = pyramid(image, len(made))
        content = torch.stack([l2(ours, theirs) for ours, theirs in zip(made, wanted, strict=True)]).mean() / 2  # Eq. 5
        fooled = self.loss.generator(self.critic(made[0]))  # Eq. 6
        turn.memo["made"] = made[0].detach()
        turn.note(content=content, fooled=fooled)
        return content + self.adversarial * fooled

    def criticise(self, turn: Turn) -> Tensor:
        """Eq. 6, as D sees it."""
        return self.loss.critic(self.critic((turn.batch.image + 1) / 2), self.critic(turn.memo["made"]))
