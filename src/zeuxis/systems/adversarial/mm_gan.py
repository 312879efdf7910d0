"""MM-GAN: the game as first written, whose generator's loss saturates where it loses.

Goodfellow et al. 2014, "Generative adversarial networks" (arXiv:1406.2661, Eq. 1), on the networks of Lucic et al. 2018
(arXiv:1711.10337, table 1). Symbols -> code:
    D -> critic, logits; D(x) = sigmoid(logit)    G -> generator    z -> z
"""

from __future__ import annotations

from zeuxis.card import Card
from zeuxis.losses.adversarial import Minimax
from zeuxis.systems.adversarial._two_players import ObjectiveGame


class MinimaxGAN(ObjectiveGame):
    """Both players play for one value, V(D, G) = E log D(x) + E log(1 - D(G(z))).

    The critic lowers -E log D(x) - E log(1 - D(G(z))), the generator E log(1 - D(G(z))).
    Where D is sure of a fake, log(1 - D) is flat and the generator learns nothing: compare ``ns-gan``.

    Args:
        nz: numbers, normally distributed, that drive a picture.
        width: base channels of both networks; 64 in the study.
        batch_norm: whether the critic's inner layers are normalised by batch; the study tried both.
        critic_steps: moves of the critic a round.
        lr: learning rate of both players.
        betas: Adam's, of both players.
    """

    card = Card(
        "mm-gan",
        title="Minimax GAN",
        family="adversarial",
        year=2014,
        paper="1406.2661",
        verbs={"sample", "decode", "draw_latents", "latent_weights"},
        knobs=("temperature",),
        departures=("Latents are normal; the study's are uniform.",),
    )
    loss = Minimax()
