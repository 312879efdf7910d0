"""The variational autoencoder (Kingma & Welling 2013, "Auto-Encoding Variational Bayes", arXiv:1312.6114).

Symbols -> code:
    x -> image    z -> latent    q_phi(z|x) -> encoder    p_theta(x|z) -> decoder and likelihood
    mu, sigma of q -> posterior.mean, posterior.std    L(theta, phi; x) -> elbo
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.errors import Unsupported, must_be_within
from zeuxis.game import Move, Player, Turn
from zeuxis.nn.conv_autoencoder import ConvDecoder, ConvEncoder
from zeuxis.rng import Rng
from zeuxis.systems.autoencoder._normal_code import NormalCode
from zeuxis.systems.autoencoder._pixels import pixels
from zeuxis.verbs import Likelihood


class VAE(NormalCode):
    """An encoder and a decoder that raise one bound together.

    With no ``widths`` both networks are perceptrons, as published.

    Args:
        latent: numbers of a code.
        widths: channels of each stage of the convolutions; each halves the picture's sides, which must allow it; []
            leaves perceptrons of one hidden layer.
        hidden: units of the hidden layer between the convolutions and the code.
        likelihood: of pixels: "gaussian", with one learnt deviation; "bernoulli", as published, which is no
            likelihood of grey pictures; or "black-and-white", which binarises the pixels at mid-grey and is exact of
            what is left.
        importance: samples with which :meth:`log_prob` tightens the bound; more are slower and closer.
    """

    card = Card(
        "vae",
        title="Variational autoencoder",
        family="autoencoder",
        year=2013,
        paper="1312.6114",
        verbs={"sample", "encode", "decode", "draw_latents", "latent_weights", "log_prob"},
        knobs=("temperature",),
        departures=(
            "Convolutions in place of one hidden layer, SiLU in place of tanh, Adam in place of Adagrad, torch's "
            "initial weights in place of N(0, 0.01).",
            "The Gaussian decoder has one variance for all pixels (Rybkin et al. 2020), not one a pixel.",
            "sample and decode show the mean of p(x|z), without its pixel noise.",
            "No prior on the weights.",
        ),
    )

    def __init__(
        self,
        shape: Shape,
        *,
        latent: int = 32,
        widths: tuple[int, ...] = (32, 64, 128),
        hidden: int = 256,
        likelihood: str = "gaussian",
        importance: int = 16,
    ) -> None:
        super().__init__()
        must_be_within(1, importance=importance)
        self.shape = Shape(*shape)
        self.latent = latent
        self.importance = importance
        self.encoder = ConvEncoder(self.shape, 2 * latent, widths=tuple(widths), hidden=hidden)
        self.decoder = ConvDecoder(self.shape, latent, widths=tuple(widths), hidden=hidden)
        self.likelihood = pixels(likelihood)
        if self.likelihood.black_and_white:
            self.likelihood_of = Likelihood.BLACK_AND_WHITE

    @property
    def can(self) -> frozenset[str]:
        """No likelihood under Bernoulli pixels: of grey pictures, cross-entropy is none."""
        return frozenset(self.card.verbs if self.likelihood.is_likelihood else self.card.verbs - {"log_prob"})

    def players(self) -> tuple[Player, ...]:
        return (Player("autoencoder", (self.encoder, self.decoder, self.likelihood), lr=1e-3),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("autoencoder", self.bound),)

    def bound(self, turn: Turn) -> Tensor:
        """-L(theta, phi; x), the mean over the batch (Eq. 10 with L = 1)."""
        image = turn.batch.image
        posterior = self.posterior(image)
        z = posterior.sample(turn.rng)  # (B, Z), Eq. 4: the reparameterisation
        distortion = self.likelihood.nll(self.decoder(z).float(), image).mean()
        rate = posterior.kl_standard().mean()  # appendix B
        loss = distortion + rate
        turn.note(distortion=distortion, rate=rate, elbo=-loss.detach())
        return loss

    def latent_weights(self) -> Tensor:
        """The first layer's, a row for each of its outputs."""
        return self.decoder.get_parameter("layers.0.weight")

    def decode(self, latent: Tensor) -> Tensor:
        """The mean of p(x|z), ``(B, C, H, W)`` in [-1, 1]."""
        return self.likelihood.mean(self.decoder(latent).float())

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """A lower bound on log p(x) in nats ``(B,)``, in expectation (Burda et al. 2015, arXiv:1509.00519, Eq. 8).

        log (1/K) sum_k p(x|z_k) p(z_k) / q(z_k|x), K = ``importance``; K = 1 estimates the ELBO. With the
        Gaussian likelihood p is a density on [-1, 1]^d, with black and white pixels a probability.
        """
        if "log_prob" not in self.can:
            raise Unsupported(
                "Bernoulli pixels give no likelihood of grey pictures: train with likelihood = 'black-and-white' or "
                "'gaussian'"
            )
        q = self.posterior(image)
        weights = []
        for _ in range(self.importance):
            noise = rng.normal(*q.mean.shape, device=q.mean.device)
            z = q.mean + q.std * noise
            log_ratio = 0.5 * (noise.square() + q.logvar - z.square()).sum(1)  # log p(z) - log q(z|x)
            weights.append(log_ratio - self.likelihood.nll(self.decoder(z).float(), image))
        return torch.stack(weights).logsumexp(0) - math.log(self.importance)
