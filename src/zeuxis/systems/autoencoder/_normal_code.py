"""What the variational autoencoders without a condition share: a normal posterior, and a standard normal prior.

Symbols -> code: q(z|x) = N(mu, sigma^2) -> posterior    p(z) = N(0, I) -> what ``sample`` draws from
"""

from __future__ import annotations

from abc import ABC

from torch import Tensor, nn

from zeuxis.batch import Condition
from zeuxis.distributions.normal import Normal
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng


class NormalCode(System, ABC):
    """A subclass builds ``encoder``, which gives mean and log variance side by side, and implements ``decode``."""

    encoder: nn.Module
    latent: int  # Z

    def posterior(self, image: Tensor) -> Normal:
        """q(z|x), ``(B, Z)``, float32."""
        mean, logvar = self.encoder(image).float().chunk(2, dim=1)
        return Normal(mean, logvar)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Pictures ``(B, C, H, W)`` of codes from the prior; ``temperature`` scales the codes."""
        return self.decode(self.draw_latents(condition, rng, how))

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """z ``(B, Z)`` from p(z)."""
        return self.settings(how).temperature * rng.normal(len(rng), self.latent, device=self.device)

    def encode(self, image: Tensor) -> Tensor:
        """The mean of q(z|x), ``(B, Z)``."""
        return self.posterior(image).mean
