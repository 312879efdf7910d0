"""Probabilistic principal component analysis (Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611-622).

Symbols -> code:
    t in R^d -> image, flattened    q -> components    mu -> mean     U_q -> axes (one a row)
    lambda_1..q -> variances        sigma^2 -> noise   W = U_q (Lambda_q - sigma^2 I)^1/2 -> axes and scale
    x ~ N(0, I_q) -> latent         C = W W' + sigma^2 I, the covariance of t

Axes: q axes that are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.card import Card
from zeuxis.distributions.dequantise import VARIANCE
from zeuxis.errors import DataError, UsageError
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, Rng
from zeuxis.systems.density._moments import dimension, moments


class PCA(System):
    """t = W x + mu + sigma e: some directions and one noise for the rest, by one eigendecomposition.

    ``encode`` gives the maximum-likelihood latent, so ``decode(encode(image))`` is the orthogonal projection on the
    leading axes, that is, the reconstruction of ordinary PCA.

    Args:
        components: directions, fewer than the numbers of a picture.
        floor: variance added in every direction; by default that of 8-bit dequantisation.
    """

    card = Card(
        "pca",
        title="Probabilistic PCA",
        family="density",
        year=1999,
        paper="Tipping & Bishop 1999, Probabilistic Principal Component Analysis, J. R. Stat. Soc. B 61, 611-622",
        verbs={"sample", "encode", "decode", "draw_latents", "latent_weights", "log_prob"},
        knobs=("temperature",),
        departures=(
            "The variance of 8-bit dequantisation is added in every direction, so that sigma^2 is never 0.",
            "encode gives the maximum-likelihood latent (the orthogonal projection), not the posterior mean of Eq. 9.",
        ),
    )
    mean: Tensor
    axes: Tensor
    variances: Tensor
    noise: Tensor

    def __init__(self, shape: Shape, *, components: int = 64, floor: float = VARIANCE) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.d = dimension(self.shape)
        self.components = components  # q
        self.floor = floor
        if not 0 < components < self.d:
            raise UsageError(f"components={components} must lie between 1 and {self.d - 1} for images of {self.shape}")
        self.register_buffer("mean", torch.zeros(self.d))  # mu
        self.register_buffer("axes", torch.eye(components, self.d))  # U_q', orthonormal rows
        self.register_buffer("variances", torch.full((components,), 2.0))  # lambda, falling
        self.register_buffer("noise", torch.ones(()))  # sigma^2

    def fit(self, batches: Iterable[Batch]) -> None:
        """The maximum of the likelihood: leading eigenvectors, and the mean of the discarded eigenvalues."""
        mean, covariance, _ = moments(batches)
        if len(mean) != self.d:
            raise DataError(f"images of {len(mean)} numbers given to a pca of {self.shape}: resize them to fit")
        values, vectors = torch.linalg.eigh(covariance)  # rising
        values = values.clamp_min(0) + self.floor
        kept, discarded = values[-self.components :].flip(0), values[: -self.components]
        self.mean.copy_(mean)
        self.axes.copy_(vectors[:, -self.components :].T.flip(0))  # Eq. 7
        self.variances.copy_(kept)
        self.noise.copy_(discarded.mean())  # Eq. 8

    @property
    def scale(self) -> Tensor:
        """(Lambda_q - sigma^2 I)^1/2 ``(q,)``, kept above rounding: a direction of mere noise can be inverted too."""
        signal = self.variances - self.noise
        return signal.clamp_min(torch.finfo(signal.dtype).eps * self.noise.item()).sqrt()

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """t = W x + mu + sigma e ``(B, C, H, W)``, clamped to [-1, 1]; ``temperature`` scales x."""
        latent = self.draw_latents(condition, rng, how)
        noise = rng.normal(len(rng), *self.shape, device=self.device)
        return (self.decode(latent) + self.noise.sqrt() * noise).clamp(-1, 1)

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """x ``(B, q)``."""
        return self.settings(how).temperature * rng.normal(len(rng), self.components, device=self.device)

    def latent_weights(self) -> Tensor:
        """W ``(d, q)``."""
        return (self.axes * self.scale[:, None]).T

    def encode(self, image: Tensor) -> Tensor:
        """``(B, q)``: the coordinates along the axes, each over its scale."""
        return (image.flatten(1) - self.mean) @ self.axes.T / self.scale

    def decode(self, latent: Tensor) -> Tensor:
        """W x + mu ``(B, C, H, W)``: a linear map, hence not clamped."""
        return ((latent * self.scale) @ self.axes + self.mean).unflatten(1, self.shape)

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """log N(t; mu, C) in nats ``(B,)``: exact, of the continuous density on [-1, 1]^d (Eq. 4, per image).

        Bits per dimension of 8-bit images are ``-log_prob / (d ln 2) + log2(127.5)``, with one grey
        level of uniform noise added to the images first.
        """
        axes, variances, noise = self.axes.double(), self.variances.double(), self.noise.double()
        centred = image.double().flatten(1) - self.mean.double()  # (B, d)
        along = centred @ axes.T  # (B, q)
        across = (centred - along @ axes).square().sum(1)  # the squared distance from the leading subspace
        distance = (along.square() / variances).sum(1) + across / noise  # t' C^-1 t
        log_determinant = variances.log().sum() + (self.d - self.components) * noise.log()
        return -0.5 * (distance + log_determinant + self.d * math.log(2 * math.pi)).float()
