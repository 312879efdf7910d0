"""The conditional VAE (Sohn, Lee & Yan 2015, "Learning structured output representation using deep conditional
generative models", NeurIPS 28). Symbols -> code:
    x -> label    y -> image    z -> latent    q_phi(z|x,y) -> encoder    p_theta(z|x) -> prior
    p_theta(y|x,z) -> decoder and likelihood
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.distributions.normal import Normal
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.conv_autoencoder import ConvDecoder, ConvEncoder
from zeuxis.rng import ImageRng
from zeuxis.systems.autoencoder._pixels import pixels


class CVAE(System):
    """An encoder, a decoder and a prior that are all conditioned on the label.

    The prior is a normal for each class, learnt: so a class may be wide or narrow, and lie where it likes.

    Args:
        latent: numbers of a code.
        widths: channels of each stage of the convolutions; each halves the picture's sides, which must allow it; []
            leaves perceptrons of one hidden layer.
        hidden: units of the hidden layer between the convolutions and the code.
        likelihood: of pixels: "gaussian", with one learnt deviation; "bernoulli"; or "black-and-white", which binarises
            the pixels at mid-grey.
    """

    card = Card(
        "cvae",
        title="Conditional variational autoencoder",
        family="autoencoder",
        year=2015,
        paper="Sohn, Lee & Yan 2015, NeurIPS 28",
        verbs={"sample", "decode", "draw_latents"},
        needs={"label"},
        knobs=("temperature",),
        departures=(
            "The condition is a class; the paper completes and segments pictures.",
            "Convolutions in place of perceptrons; the label reaches the encoder as constant channels.",
            "No hybrid with a network that has no latent (the paper's Eq. 6).",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        latent: int = 32,
        widths: tuple[int, ...] = (32, 64, 128),
        hidden: int = 256,
        likelihood: str = "gaussian",
    ) -> None:
        super().__init__()
        if classes < 2:
            raise UsageError(f"a cvae needs data with 2 classes or more, not {classes}: choose labelled data")
        self.shape = Shape(*shape)
        self.classes, self.latent, self.told_in_latent = classes, latent, classes
        inputs = Shape(self.shape.channels + classes, self.shape.height, self.shape.width)
        self.encoder = ConvEncoder(inputs, 2 * latent, widths=tuple(widths), hidden=hidden)
        self.decoder = ConvDecoder(self.shape, latent + classes, widths=tuple(widths), hidden=hidden)
        self.prior = nn.Embedding(classes, 2 * latent)
        nn.init.zeros_(self.prior.weight)  # at first every class has the standard normal
        self.likelihood = pixels(likelihood)

    def players(self) -> tuple[Player, ...]:
        return (Player("autoencoder", (self.encoder, self.decoder, self.prior, self.likelihood), lr=1e-3),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("autoencoder", self.bound),)

    def bound(self, turn: Turn) -> Tensor:
        """-L_CVAE(x, y; theta, phi), the mean over the batch (Eq. 4 with L = 1)."""
        image, label = turn.batch.image, turn.batch.condition.label
        assert label is not None  # the card needs it
        posterior = self.posterior(image, label)
        z = posterior.sample(turn.rng)  # (B, Z)
        distortion = self.likelihood.nll(self._decode(z, label), image).mean()
        rate = posterior.kl(self.prior_of(label)).mean()
        turn.note(distortion=distortion, rate=rate, elbo=-distortion - rate)
        return distortion + rate

    def posterior(self, image: Tensor, label: Tensor) -> Normal:
        """q(z|x,y), ``(B, Z)``, float32."""
        planes = self._one_hot(label)[:, :, None, None].expand(-1, -1, *image.shape[2:])
        mean, logvar = self.encoder(torch.cat([image, planes], 1)).float().chunk(2, dim=1)
        return Normal(mean, logvar)

    def prior_of(self, label: Tensor) -> Normal:
        """p(z|x), ``(B, Z)``."""
        mean, logvar = self.prior(label).float().chunk(2, dim=1)
        return Normal(mean, logvar)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """The mean of p(y|x,z) ``(B, C, H, W)``, z from the class's prior; ``temperature`` scales its spread."""
        return self.decode(self.draw_latents(condition, rng, how))

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """z, and the class as a one-hot row after it, ``(B, Z + K)``."""
        assert condition.label is not None  # the card needs it
        z = self.prior_of(condition.label).sample(rng, self.settings(how).temperature)
        return torch.cat([z, self._one_hot(condition.label)], 1)

    def decode(self, latent: Tensor) -> Tensor:
        """The mean of p(y|x,z) ``(B, C, H, W)``, of z and x side by side; x may lie between classes."""
        return self.likelihood.mean(self.decoder(latent).float())

    def _decode(self, z: Tensor, label: Tensor) -> Tensor:
        out: Tensor = self.decoder(torch.cat([z, self._one_hot(label)], 1)).float()
        return out

    def _one_hot(self, label: Tensor) -> Tensor:
        return F.one_hot(label, self.classes).float()
