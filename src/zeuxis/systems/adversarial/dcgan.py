"""DCGAN: the convolutional generator and discriminator that made adversarial training stable.

Radford, Metz and Chintala 2015, "Unsupervised representation learning with deep convolutional
generative adversarial networks" (arXiv:1511.06434). Symbols -> code:
    Z -> z, (B, nz)    G -> generator    D -> discriminator, logits; D(x) = sigmoid(logit)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.nn.dcgan import DCGANDiscriminator, DCGANGenerator
from zeuxis.nn.shared_pass import shared_pass
from zeuxis.rng import ImageRng


class DCGAN(System):
    """Two players, one move each, on Goodfellow's non-saturating loss.

    Pictures are square, 4 times a power of two a side. In evaluation the generator normalises by its running
    statistics, so a picture does not depend on the rest of its batch.

    Args:
        nz: numbers, normally distributed, that drive a picture.
        ngf: channels of the generator at half the picture's side; they double with every level below.
        ndf: channels of the discriminator at half the picture's side; they double with every level below.
        norm_first: whether the discriminator's first convolution is followed by batch normalisation, as in some
            published code, where the paper has none.
        lr: learning rate of both players (the paper's).
    """

    card = Card(
        "dcgan",
        title="DCGAN",
        family="adversarial",
        year=2015,
        paper="1511.06434",
        verbs={"sample", "decode", "draw_latents", "latent_weights", "inner_features"},
        knobs=("temperature",),
        departures=(
            "4x4 kernels without biases, and a projection of z normalised by channel, as the authors' later program has"
            " them; the paper's kernels are 5x5.",
            "Latents are normal; the paper's are uniform.",
            "With norm_first (the default) the discriminator's first convolution is normalised too, which the paper"
            " advises against: 2,765,696 parameters at 64x64 against 2,765,568 without.",
            "The generator moves first, so that both moves of a round look at the same pictures, drawn once.",
        ),
    )

    def __init__(
        self, shape: Shape, *, nz: int = 100, ngf: int = 64, ndf: int = 64, norm_first: bool = True, lr: float = 2e-4
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.nz, self.lr = nz, lr
        self.generator = DCGANGenerator(self.shape, nz=nz, ngf=ngf)
        self.discriminator = DCGANDiscriminator(self.shape, ndf=ndf, norm_first=norm_first)
        self.loss = NonSaturating()

    def players(self) -> tuple[Player, ...]:
        return (
            Player("generator", (self.generator,), lr=self.lr, betas=(0.5, 0.999)),
            Player("discriminator", (self.discriminator,), lr=self.lr, betas=(0.5, 0.999)),
        )

    def moves(self) -> tuple[Move, ...]:
        return (Move("generator", self.generate), Move("discriminator", self.discriminate))

    def generate(self, turn: Turn) -> Tensor:
        """-log D(G(z))."""
        real = turn.batch.image
        z = turn.rng.normal(len(real), self.nz, device=real.device)
        fake = self.generator(z)  # (B, C, H, W)
        logit, turn.memo["fake logit"] = shared_pass(self.discriminator, fake, keep=turn.alone)
        return self.loss.generator(logit)

    def discriminate(self, turn: Turn) -> Tensor:
        """-log D(x) - log(1 - D(G(z))); real and fake are normalised apart."""
        real, fake = self.discriminator(turn.batch.image), turn.memo["fake logit"]()
        turn.note(real=real.sigmoid().mean(), fake=fake.sigmoid().mean())
        return self.loss.critic(real, fake)

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """z ``(B, nz)``; ``temperature`` scales it."""
        return self.settings(how).temperature * rng.normal(len(rng), self.nz, device=self.device)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        return self.decode(self.draw_latents(condition, rng, how))

    def latent_weights(self) -> Tensor:
        """The first layer's, a row for each of its outputs."""
        return self.generator.get_parameter("layers.0.weight").flatten(1).T

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] from latents ``(B, nz)``."""
        image: Tensor = self.generator(latent)
        return image

    def inner_features(self, image: Tensor, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """The discriminator's maps of every layer, the largest value of each sixteenth ``(B, D)`` (section 5.1)."""
        return torch.cat([adaptive_max_pool2d(h, 4).flatten(1) for h in self.discriminator.maps(image)], 1)
