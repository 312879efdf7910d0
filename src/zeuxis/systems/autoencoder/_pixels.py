"""What an autoencoder believes of pixels, given what its decoder says."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zeuxis.losses.likelihood import bernoulli_nll, gaussian_nll


class Bernoulli(nn.Module):
    """Independent coins with the pixel's intensity in [0, 1] for the share of heads (appendix C.1)."""

    def nll(self, output: Tensor, image: Tensor) -> Tensor:
        """Cross-entropy in nats ``(B,)``: a likelihood only of black and white pictures."""
        return bernoulli_nll(output, (image + 1) / 2)

    def picture(self, output: Tensor) -> Tensor:
        """The mean of p(x|z), in [-1, 1]."""
        return output.sigmoid() * 2 - 1


class BlackAndWhite(Bernoulli):
    """Pixels that are black or white, a grey one the nearer of them: coins again, and an exact likelihood."""

    def nll(self, output: Tensor, image: Tensor) -> Tensor:
        """-log probability in nats ``(B,)``."""
        return bernoulli_nll(output, (image > 0).to(output.dtype))


class SharedGaussian(nn.Module):
    """N(output, sigma^2 I) with one learnt sigma for all pixels (Rybkin et al. 2020, arXiv:2006.13202, section 4.1).

    The best sigma balances reconstruction against KL by itself, so that no weight has to be tuned. With ``least``
    it is noise on top of that standard deviation: sqrt(least^2 + sigma^2) in all.
    """

    def __init__(self, least: float = 0.0) -> None:
        super().__init__()
        self.log_sigma = nn.Parameter(torch.zeros(()))
        self.floor = 2 * math.log(least) if least else -math.inf

    @property
    def logvar(self) -> Tensor:
        """The log variance of every pixel, a scalar."""
        return torch.logaddexp(2 * self.log_sigma, torch.full_like(self.log_sigma, self.floor))

    def nll(self, output: Tensor, image: Tensor) -> Tensor:
        """-log density in nats ``(B,)``, on [-1, 1]^d."""
        return gaussian_nll(output, image, self.logvar)

    def picture(self, output: Tensor) -> Tensor:
        """The mean of p(x|z), clamped to [-1, 1]."""
        return output.clamp(-1, 1)


LIKELIHOODS: dict[str, type[Bernoulli] | type[SharedGaussian]] = {
    "bernoulli": Bernoulli,
    "black-and-white": BlackAndWhite,
    "gaussian": SharedGaussian,
}
