"""ESRGAN: a critic that asks whether a picture looks realer than others, and a network of dense residual blocks.

Wang et al. 2018, "ESRGAN: enhanced super-resolution generative adversarial networks" (arXiv:1809.00219).
Symbols -> code:
    x_r -> image    x_i -> source    G -> network    C -> critic    D_Ra -> RelativisticAverage
    lambda -> adversarial    eta -> pixel    alpha -> the knob interpolation    theta_PSNR -> before
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.losses.adversarial import RelativisticAverage
from zeuxis.losses.reconstruction import l1
from zeuxis.nn.mixture import mixed
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.rrdb import RRDBNet, rrdb_enlarging, rrdb_sizes
from zeuxis.nn.vgg_critic import VGGCritic
from zeuxis.systems.restoration._family import AdversarialRestorer, FeatureSpace, checked_start, scale_between


class ESRGAN(AdversarialRestorer):
    """Two players: an RRDB network, begun by L1, and a relativistic critic. The network as it was begun is kept, and
    drawing may lie between the two.

    Args:
        blocks: residuals in the residual.
        width: channels within the network.
        growth: channels that each convolution of a dense block adds.
        critic_width: channels of the critic at the picture's side; they double with every halving, up to 8 times.
        halvings: how often the critic halves the picture.
        critic_start: share of the budget, in [0, 1], after which the critic joins in; before, L1 alone. 0 begins with
            the game, as is right where training starts from a network that was trained by L1.
        pixel: weight of L1 beside the critic, eta.
        adversarial: weight of the loss against the critic, lambda.
        features: a trained system whose ``encode`` is the space of the perceptual loss; none leaves that loss out.
            Without them, and beside codes of a system that was taught to ignore noise, ``pixel`` should be larger.
        lr: learning rate.
    """

    card = Card(
        "esrgan",
        title="ESRGAN",
        family="restoration",
        year=2018,
        paper="1809.00219",
        needs={"source"},
        knobs=(
            Knob(
                "interpolation",
                "float",
                "where between the network begun by L1 (0) and the one trained against the critic (1) it draws",
                1.0,
                least=0,
                most=1,
            ),
        ),
        departures=(
            "The perceptual loss compares codes of a given system: VGG's weights do not ship.",
            "L1 and the game are one training; the critic joins at a share of the budget.",
            "Adversarial losses are summed as in Eq. 1 and 2; the authors' program halves them.",
        ),
    )

    taken: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        source_shape: Shape | None = None,
        blocks: int = 23,
        width: int = 64,
        growth: int = 32,
        critic_width: int = 64,
        halvings: int = 5,
        critic_start: float = 0.5,
        pixel: float = 0.01,
        adversarial: float = 5e-3,
        features: System | None = None,
        lr: float = 1e-4,
    ) -> None:
        super().__init__()
        self.shape, self.lr = Shape(*shape), lr
        self.critic_start, self.pixel, self.adversarial = checked_start(critic_start), pixel, adversarial
        scale = scale_between(self.shape, None if source_shape is None else Shape(*source_shape), "esrgan")
        channels = self.shape.channels
        self.network = rrdb_enlarging(scale, channels, blocks=blocks, width=width, growth=growth)  # G
        self.before = rrdb_enlarging(scale, channels, blocks=blocks, width=width, growth=growth)  # theta_PSNR
        self.freeze(self.before)
        self.register_buffer("taken", torch.zeros((), dtype=torch.bool))  # whether it was put there
        self.critic = VGGCritic(self.shape, width=critic_width, halvings=halvings)  # C
        self.loss = RelativisticAverage()
        self.space = None if features is None else FeatureSpace(features, self.shape)
        if features is not None:
            self.features = self.freeze(features)

    @classmethod
    def sizes_of(cls, network: nn.Module) -> Mapping[str, Any]:
        sizes = rrdb_sizes(network)
        return {**sizes, "critic_start": 0.0} if sizes else {}  # a published network has been begun

    def content(self, made: Tensor, image: Tensor) -> Tensor:
        """L_percep + eta L_1 (Eq. 3)."""
        pixel = self.pixel * l1(made, image)
        return pixel if self.space is None else self.space.distance(made, image) + pixel

    def fool(self, made: Tensor, image: Tensor) -> Tensor:
        """L_G^Ra (Eq. 2)."""
        with torch.no_grad():
            real = self.critic(image)
        return self.loss.generator(real, self.critic(made))

    def judge(self, made: Tensor, image: Tensor) -> Tensor:
        """L_D^Ra (Eq. 1)."""
        return self.loss.critic(self.critic(image), self.critic(made))

    def after_round(self, turn: Turn) -> None:
        """The network is kept as it is when the critic has just joined."""
        if not self.taken and turn.progress >= self.critic_start:
            self.before.load_state_dict(self.network.state_dict())
            self.taken.fill_(True)

    def picture_network(self, how: Sampling = Sampling()) -> PictureNetwork:
        """theta_INTERP = (1 - alpha) theta_PSNR + alpha theta_GAN (Eq. 4)."""
        alpha = self.settings(how).interpolation
        if alpha == 1:
            return self.network
        if not self.taken:
            raise UsageError("the critic never joined this training: there is no other network to interpolate to")
        found = mixed(self.before, self.network, alpha)
        assert isinstance(found, RRDBNet)
        return found
