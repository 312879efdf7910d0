"""DANet: learn to take noise away and to make it, both judged by one critic of pairs.

Yue, Zhao, Zhang and Meng 2020, "Dual adversarial network: toward real-world noise removal and noise generation"
(arXiv:2007.05946), as in the authors' program. Symbols -> code:
    x -> clean    y -> noisy    R -> network    G -> generator    D -> critic    z -> z
    tau_1, tau_2 -> to_clean, to_noisy
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.losses.penalty import gradient_penalty
from zeuxis.losses.reconstruction import l1
from zeuxis.nn.denoising_unet import NoiseUNet, PairCritic, UNetDenoiser
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.rng import ImageRng, Rng
from zeuxis.systems.restoration._family import PictureRestorer, scale_between

ALPHA = 0.5  # of the pairs with made noise; the rest is of those with a made clean picture
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # the Gaussian of five taps by which noise is averaged


class DANet(PictureRestorer):
    """Three players: a network that cleans, a generator of noisy pictures, and a critic of clean and noisy together.

    Args:
        width: channels of both U-Nets at the finest level.
        levels: of the U-Nets, each half as fine as the one before.
        ndf: channels of the critic at half the picture's side.
        to_clean: weight of L1 between clean pictures, tau_1.
        to_noisy: weight of L1 between the local means of noise, tau_2.
        penalty: weight of the critic's gradient penalty.
        critic_steps: moves of the critic a round.
        lr: learning rate of network and generator; the critic's is twice as high.
    """

    card = Card(
        "danet",
        title="DANet",
        family="restoration",
        year=2020,
        paper="2007.05946",
        needs={"source"},
        knobs=(
            Knob(
                "make",
                "choice",
                "whether the source is cleaned, or is clean and gets noise",
                "clean",
                choices=("clean", "noisy"),
            ),
        ),
        departures=("Each of the critic's moves has a batch of its own, and so do the other two players together.",),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        source_shape: Shape | None = None,
        width: int = 32,
        levels: int = 5,
        ndf: int = 64,
        to_clean: float = 1000.0,
        to_noisy: float = 10.0,
        penalty: float = 10.0,
        critic_steps: int = 3,
        lr: float = 1e-4,
    ) -> None:
        super().__init__()
        self.shape, self.lr = Shape(*shape), lr
        self.to_clean, self.to_noisy, self.penalty, self.critic_steps = to_clean, to_noisy, penalty, critic_steps
        if scale_between(self.shape, None if source_shape is None else Shape(*source_shape), "danet") != 1:
            raise UsageError("'danet' keeps a picture's size: use --pair sensor, or pairs of noisy and clean pictures")
        self.network = UNetDenoiser(self.shape.channels, width=width, levels=levels)  # R
        self.generator = NoiseUNet(self.shape.channels, width=width, levels=levels)  # G
        self.critic = PairCritic(self.shape, ndf=ndf)  # D
        [*self.critic.parameters()][-1].requires_grad_(False)  # a bias of all logits, which the loss does not see

    def players(self) -> tuple[Player, ...]:
        return (
            Player("critic", (self.critic,), lr=2 * self.lr, betas=(0.5, 0.9)),
            Player("network", (self.network,), lr=self.lr),
            Player("generator", (self.generator,), lr=self.lr, betas=(0.5, 0.9)),
        )

    def moves(self) -> tuple[Move, ...]:
        return (
            Move("critic", self.criticise, times=self.critic_steps),
            Move("network", self.clean),
            Move("generator", self.spoil),
        )

    def pair(self, turn: Turn) -> tuple[Tensor, Tensor]:
        """x and y, in [0, 1] as the networks see them."""
        return (turn.batch.image + 1) / 2, (self.source_of(turn.batch.condition) + 1) / 2

    def noisy(self, x: Tensor, rng: Rng) -> Tensor:
        """y^ = G(x, z)."""
        made: Tensor = self.generator(x, rng.normal(len(x), 1, *x.shape[2:], device=x.device))
        return made

    def criticise(self, turn: Turn) -> Tensor:
        """Eq. 10, as D sees it, with the penalty of its slope."""
        x, y = self.pair(turn)
        with torch.no_grad():
            made = torch.cat([x, self.noisy(x, turn.rng)], 1), torch.cat([self.network(y), y], 1)
        real = torch.cat([x, y], 1)  # (B, 2 C, H, W)
        loss = -self.critic(real).mean()
        for share, fake in zip((ALPHA, 1 - ALPHA), made, strict=True):
            slope = gradient_penalty(self.critic, real, fake.float(), turn.rng)
            loss = loss + share * (self.critic(fake).mean() + self.penalty * slope)
        turn.note(distance=-loss)
        return loss

    def clean(self, turn: Turn) -> Tensor:
        """Eq. 10, as R sees it."""
        x, y = self.pair(turn)
        made = self.network(y)  # x^ = R(y)
        error = l1(made, x)
        turn.note(error=error)
        return self.to_clean * error - (1 - ALPHA) * self.critic(torch.cat([made, y], 1)).mean()

    def spoil(self, turn: Turn) -> Tensor:
        """Eq. 10, as G sees it: Eq. 11 holds the local means of its noise to those of the real one."""
        x, y = self.pair(turn)
        made = self.noisy(x, turn.rng)
        apart = l1(local_mean(made - x), local_mean(y - x))
        turn.note(means=apart)
        return self.to_noisy * apart - ALPHA * self.critic(torch.cat([x, made], 1)).mean()

    def picture_network(self, how: Sampling = Sampling()) -> PictureNetwork:
        """R; what G makes is drawn, from noise as large as the picture, and has no tiles."""
        if self.settings(how).make != "clean":
            raise UsageError("'danet' makes noise at its own size alone: zeuxis sample RUN --source PICTURE does it")
        return super().picture_network(how)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        if self.settings(how).make == "clean":
            return super().sample(condition, rng, how)
        return (2 * self.noisy((self.source_of(condition) + 1) / 2, rng) - 1).float().clamp(-1, 1)


def local_mean(noise: Tensor) -> Tensor:
    """Means over 5x5 pixels ``(B, C, H, W)``, weighted by binomials; pictures are mirrored at their edges."""
    channels = noise.shape[1]
    row = noise.new_tensor(BINOMIAL)
    kernel = (row[:, None] * row).expand(channels, 1, -1, -1)
    return conv2d(pad(noise, (2, 2, 2, 2), mode="reflect"), kernel, groups=channels)
