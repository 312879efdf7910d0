"""IntroVAE (Huang, Li, He, Sun & Tan 2018, "IntroVAE: introspective variational autoencoders for photographic image
synthesis", arXiv:1807.06358), and its soft form (Daniel & Tamar 2020, "Soft-IntroVAE", arXiv:2012.13253).

The encoder is the critic: it gives real pictures a small KL divergence from the prior, and those of the decoder a
large one.
Symbols -> code:
    E -> encoder    G, D -> decoder    L_REG(Enc(x)), KL -> rate    L_AE, rec -> error    m -> margin
    x_r, x_p -> the halves of fake    alpha -> alpha    beta_neg -> negative    s -> scale
    beta / 2, beta_rec -> reconstruction
The paper's L_AE is half the squared error: hence beta / 2.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.distributions.reduce import per_image
from zeuxis.errors import must_be_within
from zeuxis.game import Move, Player, Turn
from zeuxis.nn.conv_autoencoder import ConvDecoder, ConvEncoder
from zeuxis.rng import Rng
from zeuxis.systems.autoencoder._normal_code import NormalCode


class IntroVAE(NormalCode):
    """Two players who share one bound and pull at its two ends.

    In its soft form, without a ``margin``, what the encoder repels is a wall at ``log(negative) / (2 scale negative)``
    nats, where both rates pull equally hard, and ``1 / (2 scale negative)`` nats thick, with ``scale`` one over the
    numbers of a picture. Far below the rate of real pictures, or too thick, it holds nothing off.

    Args:
        latent: numbers of a code.
        widths: channels of each stage of the convolutions; each halves the picture's sides, which must allow it; []
            leaves perceptrons of one hidden layer.
        hidden: units of the hidden layer between the convolutions and the code.
        reconstruction: weight of the squared error summed over values in [-1, 1], beside a rate weighed by 1.
        negative: weight of the rate of fake pictures in the bound that the encoder repels softly; idle with a margin.
        margin: in nats: the encoder pushes the rate of each fake picture up to it, as first published; none lowers the
            exponential of their bound, softly. It must exceed the rate of real pictures.
        alpha: weight of the adversarial rates of either kind of fakes, for both players; idle without a margin.
    """

    card = Card(
        "intro-vae",
        title="IntroVAE",
        family="autoencoder",
        year=2018,
        paper="1807.06358",
        verbs={"sample", "encode", "decode", "draw_latents"},
        knobs=("temperature",),
        departures=(
            "The soft form of Daniel & Tamar 2020 is the default; give margin for the hinge of the paper.",
            "Encoder and decoder are those of our vae, so that the two differ in the game alone.",
            "The reconstruction weighs 1 and fake rates 80; the soft form's authors have 0.25, on our scale, and 256.",
            "Both forms are divided by the number of values, as the soft one is: Adam does not see the difference.",
            "The soft decoder's error on fakes encoded and decoded again, weighed by 1e-8 by its authors, is left out.",
            "The decoder's rebuilt pictures come of latents that the encoder drew before its own step.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        latent: int = 32,
        widths: tuple[int, ...] = (32, 64, 128),
        hidden: int = 256,
        reconstruction: float = 1.0,
        negative: float = 80.0,
        margin: float | None = None,
        alpha: float = 0.25,
    ) -> None:
        super().__init__()
        must_be_within(0, reconstruction=reconstruction, negative=negative, margin=margin or 0.0, alpha=alpha)
        self.shape, self.latent = Shape(*shape), latent
        self.reconstruction, self.negative = reconstruction, negative
        self.margin, self.alpha = margin, alpha
        self.scale = 1 / (self.shape.channels * self.shape.height * self.shape.width)
        self.encoder = ConvEncoder(self.shape, 2 * latent, widths=tuple(widths), hidden=hidden)
        self.decoder = ConvDecoder(self.shape, latent, widths=tuple(widths), hidden=hidden)

    def players(self) -> tuple[Player, ...]:
        return Player("encoder", (self.encoder,), lr=5e-4), Player("decoder", (self.decoder,), lr=5e-4)

    def moves(self) -> tuple[Move, ...]:
        return Move("encoder", self.encoder_loss), Move("decoder", self.decoder_loss)

    def encoder_loss(self, turn: Turn) -> Tensor:
        """L_E: the bound of real pictures, and fake ones away from the prior (Eq. 11; soft: Eq. 5)."""
        x = turn.batch.image
        z, rate = self.infer(x, turn.rng)
        drawn = turn.rng.normal(*z.shape, device=z.device)  # z_p
        turn.memo["z"], turn.memo["drawn"] = z.detach(), drawn
        y = self.generate(z)
        error = reconstruction_error(y, x)
        fake = torch.cat([y.detach(), self.generate(drawn)])  # (2B, C, H, W): x_r, then x_p
        turn.note(error=error.mean(), rate=rate.mean())
        return self.scale * (self.reconstruction * error + rate).mean() + self.repel(fake, turn)

    def repel(self, fake: Tensor, turn: Turn) -> Tensor:
        """The encoder's loss on fake pictures: lower, the further it keeps them from the prior."""
        z, rate = self.infer(fake, turn.rng)
        turn.note(rate_fake=rate.mean())
        if self.margin is not None:
            return self.scale * self.alpha * 2 * relu(self.margin - rate).mean()  # the sum over s = r, p
        bound = self.reconstruction * reconstruction_error(self.generate(z), fake) + self.negative * rate
        return 0.5 * (-2 * self.scale * bound).exp().mean()  # expELBO, alpha = 2

    def decoder_loss(self, turn: Turn) -> Tensor:
        """L_G: the reconstruction, and a small rate of what is generated (Eq. 12; soft: Eq. 6)."""
        x, z, drawn = turn.batch.image, turn.memo["z"], turn.memo["drawn"]
        fake = self.generate(torch.cat([z, drawn]))  # (2B, C, H, W)
        rate = self.posterior(fake).kl_standard()
        error = reconstruction_error(fake[: len(x)], x).mean()
        adversarial = rate.mean() if self.margin is None else self.alpha * 2 * rate.mean()  # the sum over s = r, p
        return self.scale * (self.reconstruction * error + adversarial)

    def infer(self, image: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        """A draw of q(z|x) ``(B, Z)`` and its divergence from the prior in nats ``(B,)``."""
        q = self.posterior(image)
        return q.sample(rng), q.kl_standard()

    def generate(self, z: Tensor) -> Tensor:
        """D(z), ``(B, C, H, W)`` in [-1, 1]."""
        return self.decoder(z).float().tanh()

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] of latents ``(B, Z)``."""
        return self.generate(latent)


def reconstruction_error(y: Tensor, x: Tensor) -> Tensor:
    """|y - x|^2, ``(B,)``."""
    return per_image((y - x).square())
