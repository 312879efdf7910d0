"""EBGAN: the critic gives energies, the errors of an autoencoder, and a margin says how high those of fakes should be.

Zhao, Mathieu and LeCun 2016, "Energy-based generative adversarial network" (arXiv:1609.03126), on the networks of Lucic
et al. 2018 (arXiv:1711.10337). Symbols -> code:
    D(x) = |Dec(Enc(x)) - x| -> energy    G -> generator    m -> margin    S -> code, Enc's    f_PT -> pull_away
"""

from __future__ import annotations

from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import must_be_within
from zeuxis.game import Turn
from zeuxis.losses.adversarial import EnergyMargin, pull_away
from zeuxis.nn.lucic import LucicAutoencoder
from zeuxis.systems.adversarial._two_players import TwoPlayers


class EBGAN(TwoPlayers):
    """Real pictures are given low energies and made ones those of the margin, the generator seeks low ones.

    Args:
        nz: numbers, normally distributed, that drive a picture.
        width: base channels of both networks, and numbers of the critic's code; 64 in the study.
        margin: the energy, a mean squared error of pixels in [-1, 1], beyond which fakes are no longer pushed.
        repel: weight of the pull-away term, which keeps the codes of a batch apart; 0: none.
        critic_steps: moves of the critic a round.
        lr: learning rate of both players.
        betas: Adam's, of both players.
    """

    card = Card(
        "ebgan",
        title="Energy-based GAN",
        family="adversarial",
        year=2016,
        paper="1609.03126",
        verbs={"sample", "decode", "draw_latents", "latent_weights"},
        knobs=("temperature",),
        departures=(
            "The study's networks, which has no energy-based game: its autoencoder is that of began.",
            "Energies are mean squared errors, so that a margin means the same at every size.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        nz: int = 64,
        width: int = 64,
        margin: float = 0.2,
        repel: float = 0.1,
        critic_steps: int = 1,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        super().__init__(shape, nz=nz, width=width, critic_steps=critic_steps, lr=lr, betas=betas)
        must_be_within(0, margin=margin, repel=repel)
        self.repel = repel
        self.critic = LucicAutoencoder(self.shape, width=width)
        self.loss = EnergyMargin(margin)

    def energy(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """D of pictures ``(B,)``, float32, and their codes ``(B, width)``."""
        rebuilt, code = self.critic(image)
        return (image - rebuilt).float().square().flatten(1).mean(1), code

    def criticise(self, turn: Turn) -> Tensor:
        """L_D = D(x) + max(0, m - D(G(z))) (Eq. 1)."""
        real, fake = self.energy(turn.batch.image)[0], self.energy(self.fake_detached(turn))[0]
        turn.note(real=real.mean(), fake=fake.mean())
        return self.loss.critic(real, fake)

    def generate(self, turn: Turn) -> Tensor:
        """L_G = D(G(z)) + w f_PT (Eq. 2 and 4)."""
        energy, code = self.energy(self.fake(turn))
        apart = pull_away(code) if self.repel else energy.new_zeros(())
        turn.note(pull_away=apart)
        return self.loss.generator(energy) + self.repel * apart
