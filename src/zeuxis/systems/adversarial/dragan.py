"""DRAGAN: the slope of the discriminator is held near one around the data, where sharp ones make the game stall.

Kodali, Abernethy, Hays and Kira 2017, "On convergence and stability of GANs" (arXiv:1705.07215), on the networks of
Lucic et al. 2018 (arXiv:1711.10337, table 1). Symbols -> code:
    D_theta -> critic, logits    G_phi -> generator    lambda -> penalty    k -> 1    delta -> see ``dragan``
"""

from __future__ import annotations

from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import must_be_within
from zeuxis.game import Turn
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.losses.penalty import dragan
from zeuxis.nn.lucic import LucicCritic
from zeuxis.systems.adversarial._two_players import TwoPlayers


class DRAGAN(TwoPlayers):
    """The game of ``ns-gan``, and a penalty on the critic's slope in the neighbourhood of real pictures.

    Args:
        nz: numbers, normally distributed, that drive a picture.
        width: base channels of both networks; 64 in the study.
        batch_norm: whether the critic is normalised by batch; the study tried both. Then a picture's slope is also
            what it does to the logits of the others around data.
        penalty: weight lambda of the squared distance of the slope from 1.
        critic_steps: moves of the critic a round.
        lr: learning rate of both players.
        betas: Adam's, of both players.
    """

    card = Card(
        "dragan",
        title="DRAGAN",
        family="adversarial",
        year=2017,
        paper="1705.07215",
        verbs={"sample", "decode", "draw_latents", "latent_weights"},
        knobs=("temperature",),
        departures=(
            "The slope is that of the logit, as in the authors' program; the study's takes it of the probability.",
            "Latents are normal; the study's are uniform.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        nz: int = 64,
        width: int = 64,
        batch_norm: bool = False,
        penalty: float = 10.0,
        critic_steps: int = 1,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        super().__init__(shape, nz=nz, width=width, critic_steps=critic_steps, lr=lr, betas=betas)
        must_be_within(0, penalty=penalty)
        self.penalty = penalty
        self.critic = LucicCritic(self.shape, width=width, batch_norm=batch_norm)
        self.loss = NonSaturating()

    def criticise(self, turn: Turn) -> Tensor:
        """-E log D(x) - E log(1 - D(G(z))) + lambda E (|grad D(x + delta)| - k)^2 (algorithm 1)."""
        x = turn.batch.image
        real, fake = self.critic(x), self.critic(self.fake_detached(turn))  # (B,)
        slope = dragan(self.critic, x, turn.rng)
        turn.note(real=real.float().sigmoid().mean(), fake=fake.float().sigmoid().mean(), slope=slope)
        return self.loss.critic(real, fake) + self.penalty * slope

    def generate(self, turn: Turn) -> Tensor:
        """-E log D(G(z))."""
        return self.loss.generator(self.critic(self.fake(turn)))
