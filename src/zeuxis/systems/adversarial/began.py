"""BEGAN: the critic is an autoencoder, and a controller keeps its errors on real and made pictures in proportion.

Berthelot, Schumm and Metz 2017, "BEGAN: Boundary equilibrium generative adversarial networks" (arXiv:1703.10717), on
the networks of Lucic et al. 2018 (arXiv:1711.10337, table 1). Symbols -> code:
    D -> critic    G -> generator    L(v) = |v - D(v)| -> error    k_t -> k    lambda_k -> rate    gamma -> gamma
    M_global -> convergence
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import must_be_within
from zeuxis.game import Turn
from zeuxis.nn.lucic import LucicAutoencoder
from zeuxis.systems.adversarial._two_players import TwoPlayers


class BEGAN(TwoPlayers):
    """The critic rebuilds real pictures well and made ones badly, the generator makes what is rebuilt well.

    Args:
        nz: numbers, normally distributed, that drive a picture.
        width: base channels of both networks, and numbers of the critic's code; 64 in the study.
        gamma: E L(G(z)) / E L(x) in equilibrium, in [0, 1]: lower, and the critic rebuilds better, the pictures vary
            less.
        rate: how fast the controller follows.
        critic_steps: moves of the critic a round.
        lr: learning rate of both players.
        betas: Adam's, of both players.
    """

    card = Card(
        "began",
        title="Boundary equilibrium GAN",
        family="adversarial",
        year=2017,
        paper="1703.10717",
        verbs={"sample", "decode", "draw_latents", "latent_weights"},
        knobs=("temperature",),
        departures=(
            "The study's small autoencoder and generator, in place of the paper's deeper convolutions.",
            "The learning rate follows the recipe's schedule; the paper halves it where M_global stalls.",
        ),
    )
    k: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        nz: int = 64,
        width: int = 64,
        gamma: float = 0.5,
        rate: float = 1e-3,
        critic_steps: int = 1,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        super().__init__(shape, nz=nz, width=width, critic_steps=critic_steps, lr=lr, betas=betas)
        must_be_within(0, 1, gamma=gamma)
        must_be_within(0, rate=rate)
        self.gamma, self.rate = gamma, rate
        self.critic = LucicAutoencoder(self.shape, width=width)
        self.register_buffer("k", torch.zeros(()))  # k_0

    def error(self, image: Tensor) -> Tensor:
        """L(v), the mean over the pixels of each picture: ``(B,)``, float32 (Eq. 1)."""
        rebuilt, _ = self.critic(image)
        return (image - rebuilt).float().abs().flatten(1).mean(1)

    def criticise(self, turn: Turn) -> Tensor:
        """L_D = L(x) - k_t L(G(z_D)) (section 3.4)."""
        real, fake = self.error(turn.batch.image), self.error(self.fake_detached(turn))
        turn.memo["real error"] = real.detach()
        return real.mean() - self.k * fake.mean()

    def generate(self, turn: Turn) -> Tensor:
        """L_G = L(G(z_G))."""
        fake = self.error(self.fake(turn))
        turn.memo["fake error"] = fake.detach()
        return fake.mean()

    def after_round(self, turn: Turn) -> None:
        """k_{t+1} = k_t + lambda_k (gamma L(x) - L(G(z_G))), within [0, 1]; M_global (section 3.4.1)."""
        real, fake = turn.whole("real error").mean(), turn.whole("fake error").mean()
        balance = self.gamma * real - fake
        self.k.add_(self.rate * balance).clamp_(0, 1)
        turn.note(k=self.k.clone(), convergence=real + balance.abs())
