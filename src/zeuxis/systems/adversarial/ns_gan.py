"""NS-GAN: the generator raises D(G(z)) instead of lowering 1 - D(G(z)), and learns most where it loses.

Goodfellow et al. 2014, "Generative adversarial networks" (arXiv:1406.2661, section 3), on the networks of Lucic et al.
2018 (arXiv:1711.10337, table 1). Symbols -> code:
    D -> critic, logits; D(x) = sigmoid(logit)    G -> generator    z -> z
"""

from __future__ import annotations

from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.game import Turn
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.nn.lucic import LucicCritic
from zeuxis.systems.adversarial._two_players import TwoPlayers


class NonSaturatingGAN(TwoPlayers):
    """The critic of ``mm-gan`` against a generator that maximises log D(G(z)).

    The fixed point is the same, the slope another: where D is sure of a fake, -log D is steep.

    Args:
        nz: numbers, normally distributed, that drive a picture.
        width: base channels of both networks; 64 in the study.
        batch_norm: whether the critic's inner layers are normalised by batch; the study tried both.
        critic_steps: moves of the critic a round.
        lr: learning rate of both players.
        betas: Adam's, of both players.
    """

    card = Card(
        "ns-gan",
        title="Non-saturating GAN",
        family="adversarial",
        year=2014,
        paper="1406.2661",
        verbs={"sample", "decode"},
        knobs=("temperature",),
        departures=("Latents are normal; the study's are uniform.",),
    )

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
        self.loss = NonSaturating()

    def criticise(self, turn: Turn) -> Tensor:
        """-E log D(x) - E log(1 - D(G(z)))."""
        real, fake = self.critic(turn.batch.image), self.critic(self.shown(turn))  # (B,), normalised apart
        turn.note(real=real.float().sigmoid().mean(), fake=fake.float().sigmoid().mean())
        return self.loss.critic(real, fake)

    def generate(self, turn: Turn) -> Tensor:
        """-E log D(G(z))."""
        return self.loss.generator(self.critic(self.fake(turn)))
