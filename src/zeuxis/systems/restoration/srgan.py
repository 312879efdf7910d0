"""SRGAN: enlarge pictures against a critic, which asks for what looks like a picture rather than for the mean of all.

Ledig et al. 2017, "Photo-realistic single image super-resolution using a generative adversarial network"
(arXiv:1609.04802). Symbols -> code:
    I^HR -> image    I^LR -> source    G -> network    D -> critic    phi -> features    l_X -> content
"""

from __future__ import annotations

from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.game import System
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.losses.reconstruction import l2
from zeuxis.nn.sr_resnet import SRResNetNet
from zeuxis.nn.vgg_critic import VGGCritic
from zeuxis.systems.restoration._family import (
    AdversarialRestorer,
    FeatureSpace,
    checked_start,
    enlarging_steps,
    scale_between,
)


class SRGAN(AdversarialRestorer):
    """Two players: SRResNet, begun by regression, and a critic of whole pictures.

    Args:
        blocks: residual blocks of the network.
        width: channels within it.
        critic_width: channels of the critic at the picture's side; they double with every halving, up to 8 times.
        halvings: how often the critic halves the picture.
        hidden: numbers between the critic's full layers.
        critic_start: share of the budget, in [0, 1], after which the critic joins in; before, the squared error alone.
        adversarial: weight of the loss against the critic.
        pixel: weight of the squared error between pixels beside that between features; the paper has none.
        features: a trained system whose ``encode`` is the space of the content loss; none measures it between pixels
            alone, as the paper's SRGAN-MSE does, and ``pixel`` is idle. Codes of a system that was taught to ignore
            noise need ``pixel`` beside them.
        lr: learning rate.
    """

    card = Card(
        "srgan",
        title="SRGAN",
        family="restoration",
        year=2017,
        paper="1609.04802",
        needs={"source"},
        departures=(
            "The network is the one of `sr-resnet`: no batch norm, leaky ReLUs and a bilinear skip.",
            "The content loss compares codes of a given system: VGG's weights do not ship.",
            "Regression and the game are one training at one learning rate; the critic joins at a share of the budget.",
            "Adam's second beta is 0.99, as in the authors' successors' program (BasicSR).",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        source_shape: Shape | None = None,
        blocks: int = 16,
        width: int = 64,
        critic_width: int = 64,
        halvings: int = 4,
        hidden: int = 1024,
        critic_start: float = 0.5,
        adversarial: float = 1e-3,
        pixel: float = 0.0,
        features: System | None = None,
        lr: float = 1e-4,
    ) -> None:
        super().__init__()
        self.shape, self.lr = Shape(*shape), lr
        self.critic_start, self.adversarial, self.pixel = checked_start(critic_start), adversarial, pixel
        scale = scale_between(self.shape, None if source_shape is None else Shape(*source_shape), "srgan")
        steps = enlarging_steps(scale)
        self.network = SRResNetNet(self.shape.channels, blocks=blocks, width=width, steps=steps)  # G
        self.critic = VGGCritic(
            self.shape, width=critic_width, halvings=halvings, kernel=3, hidden=hidden, bias=True
        )  # D, figure 4
        self.loss = NonSaturating()
        self.space = None if features is None else FeatureSpace(features, self.shape)
        if features is not None:
            self.features = self.freeze(features)

    def regress(self, made: Tensor, image: Tensor) -> Tensor:
        """Eq. 4."""
        return l2(made, image)

    def content(self, made: Tensor, image: Tensor) -> Tensor:
        """Eq. 5, or without features Eq. 4."""
        error = l2(made, image)
        return error if self.space is None else self.space.distance(made, image, l2) + self.pixel * error

    def fool(self, made: Tensor, image: Tensor) -> Tensor:
        """Eq. 6."""
        return self.loss.generator(self.critic(made))

    def judge(self, made: Tensor, image: Tensor) -> Tensor:
        """Eq. 2, as D sees it."""
        return self.loss.critic(self.critic(image), self.critic(made))
