"""Real-ESRGAN: enlarge pictures that were damaged in unknown ways.

Wang, Xie, Dong and Shan 2021, "Real-ESRGAN: training real-world blind super-resolution with pure synthetic data"
(arXiv:2107.10833). The damage is :mod:`zeuxis.degrade.blind`'s, of the second order. Symbols -> code:
    x -> source    y -> image, sharpened    generator -> network    discriminator -> critic
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.game import System
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.losses.reconstruction import l1
from zeuxis.nn.rrdb import rrdb_enlarging, rrdb_sizes
from zeuxis.nn.unet_critic import UNetCritic
from zeuxis.systems.restoration._family import AdversarialRestorer, FeatureSpace, checked_start, scale_between


class RealESRGAN(AdversarialRestorer):
    """Two players: the RRDB network, begun by L1, and a U-Net that judges every pixel.

    Its data are pairs by ``blind:4``; training may start from the published weights (``--start realesrgan-x4plus``).

    Args:
        blocks: residuals in the residual.
        width: channels within the network.
        growth: channels that each convolution of a dense block adds.
        critic_width: channels of the critic at the picture's side; they double with each of three halvings.
        critic_start: share of the budget, in [0, 1], after which the critic joins in; before, L1 alone (RealESRNet). 0
            begins with the game, as is right where training starts from published weights.
        pixel: weight of L1.
        perceptual: weight of the perceptual loss; idle without ``features``.
        adversarial: weight of the loss against the critic.
        features: a trained system whose ``encode`` is the space of the perceptual loss; none leaves that loss out.
        lr: learning rate.
    """

    card = Card(
        "real-esrgan",
        title="Real-ESRGAN",
        family="restoration",
        year=2021,
        paper="2107.10833",
        needs={"source"},
        departures=(
            "The perceptual loss compares codes of a given system: VGG's weights do not ship.",
            "L1 and the game are one training at one learning rate; the critic joins at a share of the budget.",
            "The critic sees the sharpened pictures too, which in the authors' program are those of the other losses.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        source_shape: Shape | None = None,
        blocks: int = 23,
        width: int = 64,
        growth: int = 32,
        critic_width: int = 64,
        critic_start: float = 0.5,
        pixel: float = 1.0,
        perceptual: float = 1.0,
        adversarial: float = 0.1,
        features: System | None = None,
        lr: float = 1e-4,
    ) -> None:
        super().__init__()
        self.shape, self.lr = Shape(*shape), lr
        self.critic_start, self.adversarial = checked_start(critic_start), adversarial
        self.pixel, self.perceptual = pixel, perceptual
        scale = scale_between(self.shape, None if source_shape is None else Shape(*source_shape), "real-esrgan")
        self.network = rrdb_enlarging(scale, self.shape.channels, blocks=blocks, width=width, growth=growth)
        self.critic = UNetCritic(self.shape, width=critic_width)
        self.loss = NonSaturating()
        self.space = None if features is None else FeatureSpace(features, self.shape)
        if features is not None:
            self.features = self.freeze(features)

    @classmethod
    def sizes_of(cls, network: nn.Module) -> Mapping[str, Any]:
        sizes = rrdb_sizes(network)
        return {**sizes, "critic_start": 0.0} if sizes else {}  # a published network has been begun

    def content(self, made: Tensor, image: Tensor) -> Tensor:
        """L1 and the perceptual loss (section 3.4)."""
        pixel = self.pixel * l1(made, image)
        return pixel if self.space is None else pixel + self.perceptual * self.space.distance(made, image)

    def fool(self, made: Tensor, image: Tensor) -> Tensor:
        """That of a generator, pixel by pixel."""
        return self.loss.generator(self.critic(made))

    def judge(self, made: Tensor, image: Tensor) -> Tensor:
        return self.loss.critic(self.critic(image), self.critic(made))
