"""NS-GAN: the generator raises D(G(z)) instead of lowering 1 - D(G(z)), and learns most where it loses.

Goodfellow et al. 2014, "Generative adversarial networks" (arXiv:1406.2661, section 3), on the networks of Lucic et al.
2018 (arXiv:1711.10337, table 1). Symbols -> code:
    D -> critic, logits; D(x) = sigmoid(logit)    G -> generator    z -> z
"""

from __future__ import annotations

from zeuxis.card import Card
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.systems.adversarial._two_players import ObjectiveGame


class NonSaturatingGAN(ObjectiveGame):
    """The critic of ``mm-gan`` against a generator that maximises log D(G(z)).

    The critic lowers -E log D(x) - E log(1 - D(G(z))), the generator -E log D(G(z)).
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
        verbs={"sample", "decode", "draw_latents", "latent_weights"},
        knobs=("temperature",),
        departures=("Latents are normal; the study's are uniform.",),
    )
    loss = NonSaturating()
