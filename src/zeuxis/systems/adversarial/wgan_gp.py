"""WGAN-GP: a critic held to slope one by a penalty.

Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville 2017, "Improved training of Wasserstein GANs"
(arXiv:1704.00028). Symbols -> code:
    D -> critic    G -> generator    z -> z, (B, nz)    x, x_tilde -> real, fake
    lambda -> penalty    n_critic -> critic_steps    alpha, beta_1, beta_2 -> lr, betas
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UnknownName, must_be_within
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.adversarial import Wasserstein
from zeuxis.losses.penalty import gradient_penalty
from zeuxis.nn.dcgan import DCGANDiscriminator, DCGANGenerator
from zeuxis.nn.lucic import LucicCritic, LucicGenerator
from zeuxis.nn.norm import Norm
from zeuxis.nn.wgan_resnet import WGANCritic, WGANGenerator
from zeuxis.rng import ImageRng


def dcgan(shape: Shape, nz: int, width: int) -> tuple[nn.Module, nn.Module]:
    """The stacks of DCGAN, the critic without normalisation, which the penalty does not admit (section 4)."""
    return DCGANGenerator(shape, nz=nz, ngf=width), DCGANDiscriminator(shape, ndf=width, norm=Norm.NONE)


def resnet(shape: Shape, nz: int, width: int) -> tuple[nn.Module, nn.Module]:
    """The residual networks of appendix F."""
    return WGANGenerator(shape, nz=nz, width=width), WGANCritic(shape, width=width)


def lucic(shape: Shape, nz: int, width: int) -> tuple[nn.Module, nn.Module]:
    """Those of the comparative study, on which the other objectives play."""
    return LucicGenerator(shape, nz=nz, width=width), LucicCritic(shape, width=width, bias=False)


NETWORKS: dict[str, Callable[[Shape, int, int], tuple[nn.Module, nn.Module]]] = {
    "dcgan": dcgan,
    "resnet": resnet,
    "lucic": lucic,
}


class WGANGP(System):
    """The critic moves several times a round, on a fresh batch each, then the generator once (algorithm 1).

    Pictures are square, 4 times a power of two a side; with "lucic" any sides that 4 divides.

    Args:
        network: "dcgan", plain convolutions, "resnet", the paper's residual networks, or "lucic", those of the study
            of objectives (Lucic et al. 2018, arXiv:1711.10337).
        nz: numbers, normally distributed, that drive a picture.
        width: base channels of both networks.
        penalty: weight lambda of the squared distance of the critic's gradient norm from 1.
        critic_steps: moves of the critic a round; with fewer its distance means less.
        lr: learning rate of both players.
        betas: Adam's, of both players: without momentum, which the changing critic would mislead.
    """

    card = Card(
        "wgan-gp",
        title="WGAN-GP",
        family="adversarial",
        year=2017,
        paper="1704.00028",
        verbs={"sample", "decode", "draw_latents"},
        knobs=("temperature",),
        departures=(
            "The generator's batch is as large as the critic's; the authors' CIFAR-10 program doubles it.",
            "Data are not dequantised.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        network: Literal["dcgan", "resnet", "lucic"] = "dcgan",
        nz: int = 128,
        width: int = 64,
        penalty: float = 10.0,
        critic_steps: int = 5,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.0, 0.9),
    ) -> None:
        super().__init__()
        must_be_within(0, penalty=penalty)
        must_be_within(1, critic_steps=critic_steps)
        self.shape = Shape(*shape)
        self.nz, self.penalty, self.critic_steps = nz, penalty, critic_steps
        self.lr, self.betas = lr, (betas[0], betas[1])
        if network not in NETWORKS:
            raise UnknownName("network", network, NETWORKS)
        self.generator, self.critic = NETWORKS[network](self.shape, nz, width)
        self.loss = Wasserstein()

    def players(self) -> tuple[Player, ...]:
        return (
            Player("critic", (self.critic,), lr=self.lr, betas=self.betas),
            Player("generator", (self.generator,), lr=self.lr, betas=self.betas),
        )

    def moves(self) -> tuple[Move, ...]:
        return (Move("critic", self.criticise, times=self.critic_steps), Move("generator", self.generate))

    def criticise(self, turn: Turn) -> Tensor:
        """Eq. 3."""
        real = turn.batch.image  # (B, C, H, W)
        with torch.no_grad():
            fake = self.fake(turn).float()
        logits = self.critic(torch.cat([real, fake]))  # the critic takes each image by itself
        loss = self.loss.critic(*logits.chunk(2))
        slope = gradient_penalty(self.critic, real, fake, turn.rng)
        turn.note(distance=-loss, slope=slope)
        return loss + self.penalty * slope

    def generate(self, turn: Turn) -> Tensor:
        """-D(G(z))."""
        return self.loss.generator(self.critic(self.fake(turn)))

    def fake(self, turn: Turn) -> Tensor:
        """As many fresh pictures as the batch has."""
        real = turn.batch.image
        fake: Tensor = self.generator(turn.rng.normal(len(real), self.nz, device=real.device))
        return fake

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """z ``(B, nz)``; ``temperature`` scales it."""
        return self.settings(how).temperature * rng.normal(len(rng), self.nz, device=self.device)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        return self.decode(self.draw_latents(condition, rng, how))

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] from latents ``(B, nz)``."""
        image: Tensor = self.generator(latent)
        return image
