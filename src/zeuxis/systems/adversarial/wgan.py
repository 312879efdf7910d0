"""WGAN: a critic whose weights are clipped estimates the Wasserstein distance, up to a factor.

Arjovsky, Chintala and Bottou 2017, "Wasserstein GAN" (arXiv:1701.07875), on the networks of Lucic et al. 2018
(arXiv:1711.10337, table 1). Symbols -> code:
    f_w -> critic    g_theta -> generator    c -> clip    n_critic -> critic_steps    alpha -> lr
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.game import Player, Turn
from zeuxis.losses.adversarial import Wasserstein
from zeuxis.nn.lucic import LucicCritic
from zeuxis.systems.adversarial._two_players import TwoPlayers


class WGAN(TwoPlayers):
    """The critic moves several times a round, each step followed by clipping, then the generator once (algorithm 1).

    Args:
        nz: numbers, normally distributed, that drive a picture.
        width: base channels of both networks; 64 in the study.
        batch_norm: whether the critic's inner layers are normalised by batch, as the paper's are; the study tried both.
        clip: the largest size of a weight of the critic, those of its norms included.
        critic_steps: moves of the critic a round; with fewer its distance means less.
        lr: learning rate of both players, of RMSProp.
        smoothing: of RMSProp's mean of squares.
    """

    card = Card(
        "wgan",
        title="Wasserstein GAN",
        family="adversarial",
        year=2017,
        paper="1701.07875",
        verbs={"sample", "decode", "draw_latents", "latent_weights"},
        knobs=("temperature",),
        departures=(
            "The critic always moves as often as the generator waits; the authors' program has it move 100 times in the"
            " first 25 rounds and in every 500th.",
            "The networks are the study's, the same for every objective, but for the logit's bias, which a difference"
            " of means cannot see.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        nz: int = 64,
        width: int = 64,
        batch_norm: bool = False,
        clip: float = 0.01,
        critic_steps: int = 5,
        lr: float = 5e-5,
        smoothing: float = 0.99,
    ) -> None:
        super().__init__(shape, nz=nz, width=width, critic_steps=critic_steps, lr=lr, betas=(0.0, smoothing))
        self.clip = clip
        self.critic = LucicCritic(self.shape, width=width, batch_norm=batch_norm, bias=False)
        self.loss = Wasserstein()

    def players(self) -> tuple[Player, ...]:
        critic, generator = (replace(player, optimiser="rmsprop") for player in super().players())
        return replace(critic, bound=self.clip), generator  # w <- clip(w, -c, c) after every step (line 7)

    def criticise(self, turn: Turn) -> Tensor:
        """E f(g(z)) - E f(x) (line 5)."""
        loss = self.loss.critic(self.critic(turn.batch.image), self.critic(self.fake_detached(turn)))
        turn.note(distance=-loss)
        return loss

    def generate(self, turn: Turn) -> Tensor:
        """-E f(g(z)) (line 10)."""
        return self.loss.generator(self.critic(self.fake(turn)))
