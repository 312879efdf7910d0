"""The distributions of pixels p(x|z) that the decoders of the variational autoencoders parametrise.

Each takes a decoder's output ``(B, C, H, W)``, and may have parameters of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from zeuxis.distributions.bernoulli import Bernoulli
from zeuxis.distributions.normal import Normal
from zeuxis.errors import lookup
from zeuxis.nn.within import within


class BernoulliPixels(nn.Module):
    """Independent Bernoulli variables; a pixel's intensity in [0, 1] is its mean (Kingma & Welling, appendix C.1)."""

    is_likelihood: ClassVar[bool] = False  # whether exp(-nll) is one of every picture that it takes
    black_and_white: ClassVar[bool] = False  # whether it is one of what binarising leaves of the pixels

    def nll(self, output: Tensor, image: Tensor) -> Tensor:
        """Cross-entropy in nats ``(B,)``: a likelihood only of black and white pictures."""
        return -Bernoulli(output).log_prob((image + 1) / 2)

    def mean(self, output: Tensor) -> Tensor:
        """The mean of p(x|z), in [-1, 1]."""
        return Bernoulli(output).mean * 2 - 1


class BinaryPixels(BernoulliPixels):
    """Pixels that are binarised at mid-grey: an exact likelihood of what is left."""

    is_likelihood: ClassVar[bool] = True
    black_and_white: ClassVar[bool] = True

    def nll(self, output: Tensor, image: Tensor) -> Tensor:
        """-log probability in nats ``(B,)``."""
        return -Bernoulli(output).log_prob((image > 0).to(output.dtype))


class GaussianPixels(nn.Module):
    """N(output, sigma^2 I) with one learnt sigma for all pixels (Rybkin et al. 2020, arXiv:2006.13202, section 4.1).

    The best sigma balances reconstruction against KL by itself, so that no weight has to be tuned. With ``least``
    it is noise on top of that standard deviation: sqrt(least^2 + sigma^2) in all.
    """

    is_likelihood: ClassVar[bool] = True
    black_and_white: ClassVar[bool] = False

    def __init__(self, least: float = 0.0) -> None:
        super().__init__()
        self.log_sigma = nn.Parameter(torch.zeros(()))
        self.floor = 2 * math.log(least) if least else None

    @property
    def logvar(self) -> Tensor:
        """The log variance of every pixel, a scalar."""
        logvar = 2 * self.log_sigma
        return logvar if self.floor is None else torch.logaddexp(logvar, torch.full_like(logvar, self.floor))

    def nll(self, output: Tensor, image: Tensor) -> Tensor:
        """-log density in nats ``(B,)``, on [-1, 1]^d."""
        return -Normal(output, self.logvar).log_prob(image)

    def mean(self, output: Tensor) -> Tensor:
        """The mean of p(x|z), clamped to [-1, 1]."""
        return within(output)


Pixels = BernoulliPixels | GaussianPixels
LIKELIHOODS: Mapping[str, Callable[[float], Pixels]] = {  # by name, from the least deviation
    "bernoulli": lambda least: BernoulliPixels(),
    "black-and-white": lambda least: BinaryPixels(),
    "gaussian": GaussianPixels,
}


def pixels(likelihood: str, least: float = 0.0) -> Pixels:
    """The distribution of that name; ``least`` is idle but with Gaussian pixels."""
    return lookup("likelihood", likelihood, LIKELIHOODS)(least)
