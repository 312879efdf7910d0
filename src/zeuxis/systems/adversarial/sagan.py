"""SAGAN: self-attention between the places of a picture, and spectral normalisation of both players.

Zhang, Goodfellow, Metaxas and Odena 2018, "Self-attention generative adversarial networks" (arXiv:1805.08318). Symbols
-> code: see :mod:`zeuxis.systems.adversarial._projection`, the game that it shares with BigGAN.
"""

from __future__ import annotations

from typing import Literal

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.nn.initialise import variance_scaling
from zeuxis.nn.sagan import SAGANGenerator
from zeuxis.nn.spectral_resnet import SpectralDiscriminator
from zeuxis.systems.adversarial._projection import ProjectionGame


class SAGAN(ProjectionGame):
    """Two players of residual blocks on the hinge loss, who look at all places of a picture at once.

    The discriminator learns faster, so that one move of it a round is enough (two time scales, section 3.2). Pictures
    are square, of 4 pixels a side times 2 for each multiple after the first.

    Args:
        condition: "none", or "label": the generator's norms have gains of each class, the discriminator projects on it.
        nz: numbers, normally distributed, that drive a picture.
        width: channels, times each of ``multiples``.
        multiples: of ``width`` from 4 pixels up; each level has twice the sides of the one before.
        attention: sides of the maps that attention looks at; none leaves it out.
        critic_steps: moves of the discriminator a round.
        lr_generator: learning rate of the generator.
        lr_discriminator: learning rate of the discriminator.
        betas: Adam's, of both players: without momentum.
    """

    card = Card(
        "sagan",
        title="SAGAN",
        family="adversarial",
        year=2018,
        paper="1805.08318",
        verbs={"sample", "decode", "draw_latents"},
        accepts={"label"},
        knobs=("temperature",),
        departures=(
            "Attention pools its keys and values, and values have half the channels, as in the authors' program; in the"
            " paper neither is so.",
            "Made pictures are of the classes of the batch's real ones; the authors' program draws classes uniformly.",
            "Weights may be averaged, as train.ema says; the paper's are not.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: Literal["none", "label"] = "none",
        nz: int = 128,
        width: int = 64,
        multiples: tuple[int, ...] = (16, 16, 8, 4, 2, 1),
        attention: tuple[int, ...] = (32,),
        critic_steps: int = 1,
        lr_generator: float = 1e-4,
        lr_discriminator: float = 4e-4,
        betas: tuple[float, float] = (0.0, 0.9),
    ) -> None:
        super().__init__(
            shape,
            classes=classes,
            condition=condition,
            nz=nz,
            critic_steps=critic_steps,
            rates=(lr_generator, lr_discriminator),
            betas=betas,
        )
        widths, at, known = [width * multiple for multiple in multiples], tuple(attention), self.classes
        self.generator = SAGANGenerator(self.shape, nz=nz, classes=known, widths=widths, attention=at)
        self.discriminator = SpectralDiscriminator(self.shape, widths=widths, attention=at, classes=known)
        variance_scaling(self.discriminator)
        self.told_in_latent = self.classes
