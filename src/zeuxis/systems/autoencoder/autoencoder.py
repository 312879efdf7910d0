"""The deep autoencoder: a code too short for the picture, and the picture reconstructed from it.

Hinton & Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks", Science 313 (doi:10.1126/
science.1127647). Symbols -> code: x -> image    code layer -> latent, linear    reconstruction -> decode(encode(x))
"""

from __future__ import annotations

from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.game import Move, Player, System, Turn
from zeuxis.nn.conv_autoencoder import ConvDecoder, ConvEncoder
from zeuxis.nn.within import within


class Autoencoder(System):
    """An encoder and a decoder, which lower the squared error together.

    Codes have no prior, so none can be sampled: that is what the VAE adds.

    Args:
        latent: numbers of a code.
        widths: channels of each stage of the convolutions; each halves the picture's sides, which must allow it; []
            leaves perceptrons of one hidden layer.
        hidden: units of the hidden layer between the convolutions and the code.
    """

    card = Card(
        "autoencoder",
        title="Autoencoder",
        family="autoencoder",
        year=2006,
        paper="Hinton & Salakhutdinov 2006, Science 313, 504-507",
        verbs={"encode", "decode"},
        departures=(
            "Convolutions, SiLU and Adam from a random start, in place of logistic layers pretrained one by one.",
            "Squared error in place of the cross-entropy of intensities.",
        ),
    )

    def __init__(
        self, shape: Shape, *, latent: int = 64, widths: tuple[int, ...] = (32, 64, 128), hidden: int = 512
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.latent = latent
        self.encoder = ConvEncoder(self.shape, latent, widths=tuple(widths), hidden=hidden)
        self.decoder = ConvDecoder(self.shape, latent, widths=tuple(widths), hidden=hidden)

    def players(self) -> tuple[Player, ...]:
        return (Player("autoencoder", (self.encoder, self.decoder), lr=1e-3),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("autoencoder", self.reconstruct),)

    def reconstruct(self, turn: Turn) -> Tensor:
        """|x - decode(encode(x))|^2, the mean over pixels."""
        image = turn.batch.image
        return (self.decoder(self.encoder(image)).float() - image).square().mean()

    def encode(self, image: Tensor) -> Tensor:
        """The code ``(B, latent)``."""
        code: Tensor = self.encoder(image).float()
        return code

    def decode(self, latent: Tensor) -> Tensor:
        """Images ``(B, C, H, W)``, clamped to [-1, 1]."""
        image: Tensor = self.decoder(latent).float()
        return within(image)
