"""LSGAN: squared distances from targets, so that a fake on the right side of the boundary is still drawn nearer.

Mao, Li, Xie, Lau, Wang and Smolley 2016, "Least squares generative adversarial networks" (arXiv:1611.04076), on the
networks of Lucic et al. 2018 (arXiv:1711.10337, table 1). Symbols -> code:
    D -> critic, unbounded    G -> generator    a, b, c -> 0, 1, 1, the targets (section 3.3)
"""

from __future__ import annotations

from torch import Tensor

from zeuxis.card import Card
from zeuxis.losses.adversarial import LeastSquares
from zeuxis.systems.adversarial._two_players import ObjectiveGame


class LSGAN(ObjectiveGame):
    """The critic is drawn to 1 on the data and to 0 on what is made, the generator to where it says 1.

    The critic lowers E (D(x) - b)^2 / 2 + E (D(G(z)) - a)^2 / 2, the generator E (D(G(z)) - c)^2 / 2 (Eq. 9).

    Args:
        nz: numbers, normally distributed, that drive a picture.
        width: base channels of both networks; 64 in the study.
        batch_norm: whether the critic's inner layers are normalised by batch; the study tried both.
        critic_steps: moves of the critic a round.
        lr: learning rate of both players.
        betas: Adam's, of both players.
    """

    card = Card(
        "lsgan",
        title="Least-squares GAN",
        family="adversarial",
        year=2016,
        paper="1611.04076",
        verbs={"sample", "decode", "draw_latents", "latent_weights"},
        knobs=("temperature",),
        departures=(
            "The critic is linear at its end, as in the paper; the study's program squares what a sigmoid made of it.",
            "Latents are normal; the study's are uniform.",
        ),
    )
    loss = LeastSquares()

    def verdict(self, logit: Tensor) -> Tensor:
        """D, which is the output itself."""
        return logit.float()
