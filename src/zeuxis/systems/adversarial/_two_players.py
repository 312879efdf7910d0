"""What the games of the comparative study share: one generator, drawn from a normal, against one critic.

Lucic, Kurach, Michalski, Gelly and Bousquet 2018, "Are GANs created equal? A large-scale study" (arXiv:1711.10337):
the same networks, and an objective each. The critic, the losses and what keeps the critic in bounds are each method's
own. Symbols -> code: z -> z, (B, nz)    G -> generator    D -> critic
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.errors import must_be_within
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.adversarial import AdversarialLoss
from zeuxis.nn.lucic import LucicCritic, LucicGenerator
from zeuxis.rng import ImageRng


class TwoPlayers(System, ABC):
    """The critic moves ``critic_steps`` times a round, on a fresh batch each, then the generator once.

    A subclass builds ``critic`` and implements :meth:`criticise` and :meth:`generate`.
    """

    critic: nn.Module

    def __init__(
        self, shape: Shape, *, nz: int, width: int, critic_steps: int, lr: float, betas: tuple[float, float]
    ) -> None:
        super().__init__()
        must_be_within(1, critic_steps=critic_steps)
        self.shape = Shape(*shape)
        self.nz, self.critic_steps = nz, critic_steps
        self.lr, self.betas = lr, (betas[0], betas[1])
        self.generator = LucicGenerator(self.shape, nz=nz, width=width)

    def players(self) -> tuple[Player, ...]:
        return (
            Player("critic", (self.critic,), lr=self.lr, betas=self.betas),
            Player("generator", (self.generator,), lr=self.lr, betas=self.betas),
        )

    def moves(self) -> tuple[Move, ...]:
        return (Move("critic", self.criticise, times=self.critic_steps), Move("generator", self.generate))

    @abstractmethod
    def criticise(self, turn: Turn) -> Tensor:
        """The critic's loss."""

    @abstractmethod
    def generate(self, turn: Turn) -> Tensor:
        """The generator's loss."""

    def fake(self, turn: Turn) -> Tensor:
        """G(z): as many fresh pictures as the batch has."""
        real = turn.batch.image
        image: Tensor = self.generator(turn.rng.normal(len(real), self.nz, device=real.device))
        return image

    def fake_detached(self, turn: Turn) -> Tensor:
        """The same for the critic to judge: no gradient leads back to the generator."""
        with torch.no_grad():
            return self.fake(turn)

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """z ``(B, nz)``; ``temperature`` scales it."""
        return self.settings(how).temperature * rng.normal(len(rng), self.nz, device=self.device)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        return self.decode(self.draw_latents(condition, rng, how))

    def latent_weights(self) -> Tensor:
        """The first layer's, a row for each of its outputs."""
        return self.generator.get_parameter("layers.0.weight")

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] from latents ``(B, nz)``."""
        image: Tensor = self.generator(latent)
        return image


class ObjectiveGame(TwoPlayers):
    """A game of an objective alone: ``loss`` of what the critic says, and nothing that keeps the critic in bounds."""

    loss: ClassVar[AdversarialLoss]

    def __init__(
        self,
        shape: Shape,
        *,
        nz: int = 64,
        width: int = 64,
        batch_norm: bool = False,
        critic_steps: int = 1,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        super().__init__(shape, nz=nz, width=width, critic_steps=critic_steps, lr=lr, betas=betas)
        self.critic = LucicCritic(self.shape, width=width, batch_norm=batch_norm)

    def criticise(self, turn: Turn) -> Tensor:
        real, fake = self.critic(turn.batch.image), self.critic(self.fake_detached(turn))  # (B,), normalised apart
        turn.note(real=self.verdict(real).mean(), fake=self.verdict(fake).mean())
        return self.loss.critic(real, fake)

    def generate(self, turn: Turn) -> Tensor:
        return self.loss.generator(self.critic(self.fake(turn)))

    def verdict(self, logit: Tensor) -> Tensor:
        """D of the critic's outputs ``(B,)``, as it is noted."""
        return logit.float().sigmoid()
