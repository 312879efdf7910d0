"""ProGAN: both players begin with pictures of 4 pixels a side, and finer layers are faded in as they learn.

Karras, Aila, Laine and Lehtinen 2017, "Progressive growing of GANs for improved quality, stability, and variation"
(arXiv:1710.10196). Symbols -> code:
    D -> discriminator, not bounded    G -> generator    z -> z, (B, nz)    alpha of figure 2 -> the fraction of level
    lambda -> penalty    epsilon_drift -> drift    x, x_tilde -> real, fake

Axes: s side of the pictures at a level.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import must_be_within
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.adversarial import Wasserstein
from zeuxis.losses.penalty import gradient_penalty
from zeuxis.nn.growing import Growth, brought_to, seen_at
from zeuxis.nn.progressive import ProgressiveDiscriminator, ProgressiveGenerator
from zeuxis.nn.within import within
from zeuxis.rng import ImageRng


class ProGAN(System):
    """The discriminator moves, then the generator, on WGAN-GP's loss, at the resolution that the budget has come to.

    Pictures are square, 8 or more and a power of two a side. Until they have grown to that, what is drawn is coarse.

    Args:
        nz: numbers, normally distributed, that drive a picture; they are brought to the same length.
        channel_base: channels of a resolution times its side, for both networks.
        channel_max: channels of a resolution at most.
        group: pictures whose variety the discriminator sees at once.
        start: side of the first pictures.
        grow: share of the budget within which the last layers are reached; 0 trains all of them from the beginning.
        penalty: weight lambda of the squared distance of the critic's gradient norm from 1.
        drift: weight of the squared outputs for real pictures, which have no place of their own.
        critic_steps: moves of the discriminator a round.
        lr: learning rate of both players, up to pictures of 64 pixels; it rises to three times that at 512.
    """

    card = Card(
        "progan",
        title="Progressive GAN",
        family="adversarial",
        year=2017,
        paper="1710.10196",
        verbs={"sample", "decode", "draw_latents"},
        departures=(
            "The discriminator averages before the bias and the leaky ReLU, as the authors' program does; in the paper"
            " after them.",
            "One size of batch; theirs is larger at coarse resolutions. Adam's means are kept where they begin anew.",
            "Every level has the same share of the time; the paper's last one has what is left.",
        ),
    )
    level: Tensor

    started_keys = ("nz", "channel_base", "channel_max")

    def __init__(
        self,
        shape: Shape,
        *,
        nz: int = 512,
        channel_base: int = 16384,
        channel_max: int = 512,
        group: int = 4,
        start: int = 4,
        grow: float = 0.8,
        penalty: float = 10.0,
        drift: float = 1e-3,
        critic_steps: int = 1,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        must_be_within(0, penalty=penalty, drift=drift)
        must_be_within(1, critic_steps=critic_steps)
        self.shape = Shape(*shape)
        self.nz, self.critic_steps, self.lr = nz, critic_steps, lr
        self.penalty, self.drift = penalty, drift
        self.growth = Growth.of(self.shape, start, grow)
        self.generator = ProgressiveGenerator(self.shape, nz=nz, channel_base=channel_base, channel_max=channel_max)
        self.discriminator = ProgressiveDiscriminator(
            self.shape, channel_base=channel_base, channel_max=channel_max, group=group
        )
        self.register_buffer("level", torch.tensor(self.growth.level(0.0)))
        self.loss = Wasserstein()

    def players(self) -> tuple[Player, ...]:
        return tuple(
            Player(name, (net,), lr=self.lr, betas=(0.0, 0.99), decay=self.growth.rate)
            for name, net in (("discriminator", self.discriminator), ("generator", self.generator))
        )

    def moves(self) -> tuple[Move, ...]:
        return (
            Move("discriminator", self.discriminate, times=self.critic_steps),
            Move("generator", self.generate),
        )

    def discriminate(self, turn: Turn) -> Tensor:
        """D(G(z)) - D(x) + lambda (|grad D| - 1)^2 + epsilon_drift D(x)^2, of pictures at this level."""
        level = self.growth.level(turn.progress)
        real = seen_at(turn.batch.image, level)  # (B, C, s, s)
        with torch.no_grad():
            fake = self._fake(turn, level).to(real.dtype)
        real_logit, fake_logit = self.discriminator(real, level), self.discriminator(fake, level)
        # Slopes are by pictures of full size, of whose pixels these are means: longer here by as much as they are
        # smaller, so that the penalty does not jump where the resolution does.
        times = self.shape.height / real.shape[-1]
        slope = gradient_penalty(lambda x: self.discriminator(x, level), real, fake, turn.rng, target=times) / times**2
        drift = real_logit.float().square().mean()
        loss = self.loss.critic(real_logit, fake_logit)
        turn.note(distance=-loss, slope=slope, drift=drift, level=level)
        return loss + self.penalty * slope + self.drift * drift

    def generate(self, turn: Turn) -> Tensor:
        """-D(G(z))."""
        level = self.growth.level(turn.progress)
        return self.loss.generator(self.discriminator(self._fake(turn, level), level))

    def after_round(self, turn: Turn) -> None:
        """The level at which is drawn."""
        self.level.fill_(self.growth.level(turn.progress))

    def _fake(self, turn: Turn, level: float) -> Tensor:
        """As many fresh pictures ``(B, C, s, s)`` as the batch has."""
        real = turn.batch.image
        fake: Tensor = self.generator(turn.rng.normal(len(real), self.nz, device=real.device), level)
        return fake

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """z ``(B, nz)``."""
        self.settings(how)  # it has no knob
        return rng.normal(len(rng), self.nz, device=self.device)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        return self.decode(self.draw_latents(condition, rng, how))

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] from latents ``(B, nz)``, as fine as it has grown."""
        image = self.generator(latent, float(self.level)).float()
        return within(brought_to(image, self.shape.height))
