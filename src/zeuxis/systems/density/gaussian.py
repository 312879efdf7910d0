"""The multivariate Gaussian: the first model of any density, and the baseline that a deeper one has to beat.

Maximum likelihood has a closed form (Gauss 1809; Bishop 2006, "Pattern Recognition and Machine
Learning", section 2.3.4). Symbols -> code:
    x in R^d -> image, flattened    mu -> mean    Sigma -> covariance    L, Sigma = L L' -> factor
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.linalg import cholesky_ex

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.card import Card
from zeuxis.distributions.affine import Flatten, Whiten, pack, unpack
from zeuxis.distributions.dequantise import VARIANCE
from zeuxis.distributions.flow import Flow
from zeuxis.distributions.normal import StandardNormal
from zeuxis.errors import DataError
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, Rng
from zeuxis.systems.density._moments import dimension, moments


class Gaussian(System):
    """N(mu, Sigma) over pixels, fitted in one streaming pass in float64.

    The factor is stored packed, d (d + 1) / 2 numbers.

    Args:
        floor: variance added to every pixel. By default that of uniform noise one grey level wide: Sigma is then
            exactly the covariance of the dequantised data, and pixels that never change (a black border) leave it
            invertible.
    """

    card = Card(
        "gaussian",
        title="Multivariate Gaussian",
        family="density",
        year=2006,
        paper="Bishop 2006, Pattern Recognition and Machine Learning, section 2.3",
        verbs={"sample", "encode", "decode", "draw_latents", "log_prob"},
        knobs=("temperature",),
        departures=("The variance of 8-bit dequantisation is added to every pixel, so that Sigma is never singular.",),
    )
    mean: Tensor
    packed: Tensor

    def __init__(self, shape: Shape, *, floor: float = VARIANCE) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.floor = floor
        self.d = dimension(self.shape)
        self.register_buffer("mean", torch.zeros(self.d))  # mu
        self.register_buffer("packed", pack(torch.eye(self.d)))  # the lower triangle of L, row by row

    def fit(self, batches: Iterable[Batch]) -> None:
        """mu and Sigma of one pass over the data (Bishop, Eq. 2.121 and 2.122)."""
        mean, covariance, n = moments(batches)
        if len(mean) != self.d:
            raise DataError(f"images of {len(mean)} numbers given to a gaussian of {self.shape}: resize them to fit")
        covariance.diagonal().add_(self.floor)
        factor, failed = cholesky_ex(covariance)
        if failed:
            raise DataError(f"the covariance of {n} images is singular with floor {self.floor:g}: raise the floor")
        self.mean.copy_(mean)
        self.packed.copy_(pack(factor))

    def factor(self) -> Tensor:
        """L ``(d, d)``, lower triangular, float64: solves against it lose too much in float32."""
        return unpack(self.packed, self.d)

    @property
    def flow(self) -> Flow:
        """z = L^-1 (x - mu), standard normal; in float64."""
        whiten = Whiten(self.mean.double(), self.factor())
        return Flow((Flatten(self.shape), whiten), StandardNormal(self.d))

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """``(B, C, H, W)``, clamped to [-1, 1]; ``temperature`` scales the standard deviation."""
        return self.flow.inverse(self.draw_latents(condition, rng, how)).float().clamp(-1, 1)

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """z ``(B, d)``."""
        return StandardNormal(self.d).sample(len(rng), rng, self.settings(how).temperature, self.device)

    def encode(self, image: Tensor) -> Tensor:
        """z ``(B, d)``: whitened, standard normal if the model is right."""
        return self.flow.forward_and_log_det(image)[0].to(image.dtype)

    def decode(self, latent: Tensor) -> Tensor:
        """x = mu + L z ``(B, C, H, W)``, the exact inverse of :meth:`encode`, hence not clamped."""
        return self.flow.inverse(latent).to(latent.dtype)

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        """log N(x; mu, Sigma) in nats ``(B,)``: exact, of the continuous density on [-1, 1]^d.

        Bits per dimension of 8-bit images are ``-log_prob / (d ln 2) + log2(127.5)``, with one grey
        level of uniform noise added to the images first.
        """
        return self.flow.log_prob(image).float()
