"""BigGAN: the same game made large, with latents that reach every block and can be truncated.

Brock, Donahue and Simonyan 2018, "Large scale GAN training for high fidelity natural image synthesis"
(arXiv:1809.11096). Symbols -> code:
    z -> z, (B, nz)    E(y) -> code, (B, Y)    beta of Eq. 3 -> orthogonal    threshold of the truncation -> truncation
The rest: see :mod:`zeuxis.systems.adversarial._projection`, the game that it shares with SAGAN.

Axes: Y numbers of the code of a class.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import must_be_within
from zeuxis.game import Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.losses.orthogonal import orthogonality
from zeuxis.nn.biggan import BigGANGenerator, orthogonalised
from zeuxis.nn.bottleneck import DeepDown
from zeuxis.nn.spectral_resnet import SpectralDiscriminator
from zeuxis.rng import ImageRng
from zeuxis.systems.adversarial._projection import ProjectionGame

WHOLE = 10.0  # a threshold that no number of a latent passes


class BigGAN(ProjectionGame):
    """The game of ``sagan``; the class is embedded once for all blocks, and each gets a part of the latent too.

    The generator's filters are held at right angles, so that latents near 0, which make typical pictures, can be drawn
    alone: fidelity for variety. Pictures are square, of 4 pixels a side times 2 for each multiple after the first.

    Args:
        condition: "none", or "label".
        nz: numbers of a latent, a multiple of how many ``multiples`` there are unless ``deep``.
        shared: numbers of the embedding of a class.
        width: channels, times each of ``multiples``.
        multiples: of ``width`` from 4 pixels up; each level has twice the sides of the one before.
        attention: sides of the maps that attention looks at; none leaves it out.
        deep: whether blocks are two bottlenecks each, all of which get the whole latent (BigGAN-deep).
        orthogonal: weight of the penalty on filters that are not at right angles; 0 leaves it out.
        critic_steps: moves of the discriminator a round.
        lr_generator: learning rate of the generator.
        lr_discriminator: learning rate of the discriminator.
        betas: Adam's, of both players: without momentum.
    """

    card = Card(
        "biggan",
        title="BigGAN",
        family="adversarial",
        year=2018,
        paper="1809.11096",
        verbs={"sample", "decode", "draw_latents"},
        accepts={"label"},
        knobs=(
            Knob(
                "truncation",
                "float",
                "magnitude that no number of a latent has more of: typical pictures where it is small, all at 10",
                10.0,
                least=0.01,
                most=10.0,
            ),
        ),
        departures=(
            "A truncated latent has the same quantiles in the truncated distribution, so that a picture changes step by"
            " step; the paper draws numbers that are too large again.",
            "Statistics of the norms are those of whole latents at every truncation.",
            "Made pictures are of the classes of the batch's real ones; the paper draws them.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: Literal["none", "label"] = "label",
        nz: int = 120,
        shared: int = 128,
        width: int = 96,
        multiples: tuple[int, ...] = (16, 16, 8, 4, 2, 1),
        attention: tuple[int, ...] = (64,),
        deep: bool = False,
        orthogonal: float = 1e-4,
        critic_steps: int = 2,
        lr_generator: float = 5e-5,
        lr_discriminator: float = 2e-4,
        betas: tuple[float, float] = (0.0, 0.999),
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
        must_be_within(0, orthogonal=orthogonal)
        self.orthogonal, self.told_in_latent = orthogonal, shared if self.classes else 0
        widths, at, known = [width * multiple for multiple in multiples], tuple(attention), self.classes
        self.generator: BigGANGenerator = BigGANGenerator(
            self.shape, nz=nz, classes=known, shared=shared, widths=widths, attention=at, deep=deep
        )
        self.discriminator = SpectralDiscriminator(
            self.shape, widths=widths, attention=at, classes=known, block=DeepDown if deep else None
        )
        orthogonalised(self.discriminator)

    def generate(self, turn: Turn) -> Tensor:
        """-D(G(z, y), y) + beta |W W^T o (1 - I)|^2 (Eq. 3), of all weights of G but the embedding."""
        loss = super().generate(turn)
        if not self.orthogonal:
            return loss
        angles = orthogonality((self.generator.body,))
        turn.note(angles=angles)
        return loss + self.orthogonal * angles

    def code(self, y: Tensor) -> Tensor:
        return self.generator.code(y)

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """What :meth:`coded` makes of z, cut off at ``truncation``, and the classes."""
        return self.coded(truncated(self.latent(rng, len(rng)), self.settings(how).truncation), condition.label)


def truncated(z: Tensor, threshold: float) -> Tensor:
    """Normal numbers to those of a normal distribution cut off at ``threshold`` on both sides, in the same order."""
    if threshold >= WHOLE:
        return z
    most = torch.special.ndtr(torch.tensor(threshold, dtype=torch.float64, device=z.device))
    share = torch.special.ndtr(z.double())
    return torch.special.ndtri((1 - most) + share * (2 * most - 1)).to(z.dtype)
