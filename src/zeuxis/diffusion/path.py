"""Paths from data to noise.

Every diffusion and flow model mixes an image with Gaussian noise, ``x_t = alpha(t) x0 + std(t) e``,
and only the two functions differ:

    VP (Ho et al. 2020, arXiv:2006.11239)           alpha = sqrt(abar_t)   std = sqrt(1 - abar_t)
    VE (Song & Ermon 2019; Karras et al. 2022)      alpha = 1              std = t
    straight (Lipman 2022, 2210.02747; Liu 2022)    alpha = 1 - t          std = t

Divided by ``alpha``, any of them is the VE path at ``sigma = std / alpha``: this is the space in which
samplers work, and why one sampler serves them all. Everywhere t grows from data to noise. What a network may
predict along them is in :mod:`zeuxis.diffusion.precondition`.

Legend: B images, (B, C, H, W) or of any shape (B, ...); t, sigma, alpha and std are (B,); T steps of a chain.
All arithmetic is in the dtype of its input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from zeuxis.errors import lookup

BetaSchedule = Literal["linear", "cosine", "scaled-linear"]


class Path(Protocol):
    """A way from data to noise."""

    def alpha(self, t: Tensor) -> Tensor:
        """The weight of the image at ``t`` (B,)."""
        ...

    def std(self, t: Tensor) -> Tensor:
        """The standard deviation of the noise at ``t`` (B,)."""
        ...

    def time(self, sigma: Tensor) -> Tensor:
        """The ``t`` (B,) at which ``std / alpha`` is ``sigma``."""
        ...


class VarianceExploding:
    """The image stays as it is and noise is added: t is the noise's standard deviation."""

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def std(self, t: Tensor) -> Tensor:
        return t

    def time(self, sigma: Tensor) -> Tensor:
        return sigma


class Straight:
    """The straight line of rectified flow: t in [0, 1], data at 0 and pure noise at 1."""

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def std(self, t: Tensor) -> Tensor:
        return t

    def time(self, sigma: Tensor) -> Tensor:
        return sigma / (1 + sigma)


class VariancePreserving(nn.Module):
    """The T-step chain of DDPM: t in [0, T - 1], whole numbers being the chain's own steps.

    Between two of them, log sigma is linear in t.
    """

    log_sigma: Tensor

    def __init__(self, betas: Tensor) -> None:
        super().__init__()
        abar = (1 - betas.double()).cumprod(0)
        self.register_buffer("log_sigma", ((1 - abar) / abar).log().div(2).float(), persistent=False)  # (T,)

    def __len__(self) -> int:
        return len(self.log_sigma)

    @property
    def sigmas(self) -> Tensor:
        """``std / alpha`` (T,) of every step of the chain, ascending."""
        return self.log_sigma.exp()

    def sigma(self, t: Tensor) -> Tensor:
        """``std / alpha`` (B,) at ``t``."""
        low = t.long().clamp(0, len(self) - 2)
        return self.log_sigma[low].lerp(self.log_sigma[low + 1], t.to(self.log_sigma.dtype) - low).exp()

    def alpha(self, t: Tensor) -> Tensor:
        return (1 + self.sigma(t) ** 2).rsqrt()

    def std(self, t: Tensor) -> Tensor:
        return (1 + self.sigma(t) ** -2).rsqrt()

    def time(self, sigma: Tensor) -> Tensor:
        wanted = sigma.to(self.log_sigma.dtype).log()
        high = torch.searchsorted(self.log_sigma, wanted).clamp(1, len(self) - 1)
        start, end = self.log_sigma[high - 1], self.log_sigma[high]
        return (high - 1) + ((wanted - start) / (end - start)).clamp(0, 1)


def betas(schedule: BetaSchedule, steps: int = 1000) -> Tensor:
    """The variances (T,), float64, that each step of a chain adds.

    ``linear``: 1e-4 to 0.02 at 1000 steps, scaled by 1000 / T otherwise (Ho 2020, Nichol 2021);
    ``cosine``: from abar = cos^2((t + .008) / 1.008 * pi / 2), at most 0.999 (Nichol 2021, Eq. 17);
    ``scaled-linear``: linear in the square root, 0.00085 to 0.012 (Rombach 2022, Stable Diffusion).
    """
    return lookup("schedule", schedule, _BETAS)(steps)


def _linear(steps: int) -> Tensor:
    # Chains of fewer than 20 steps would ask for variances above 1.
    return torch.linspace(1e-4, 0.02, steps, dtype=torch.float64).mul(1000 / steps).clamp(max=0.999)


def _cosine(steps: int) -> Tensor:
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    abar = ((t + 0.008) / 1.008 * math.pi / 2).cos() ** 2
    return (1 - abar[1:] / abar[:-1]).clamp(max=0.999)


def _scaled_linear(steps: int) -> Tensor:
    return torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64) ** 2


_BETAS: dict[str, Callable[[int], Tensor]] = {
    "linear": _linear,
    "cosine": _cosine,
    "scaled-linear": _scaled_linear,
}


def append_dims(scale: Tensor, image: Tensor) -> Tensor:
    """``scale`` (B,) shaped so that it multiplies ``image`` (B, ...)."""
    return scale.reshape(-1, *[1] * (image.ndim - 1))


def add_noise(path: Path, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """The noisy image ``x_t = alpha x0 + std e``, (B, C, H, W)."""
    return append_dims(path.alpha(t), x0) * x0 + append_dims(path.std(t), x0) * noise
