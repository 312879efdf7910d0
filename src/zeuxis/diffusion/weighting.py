"""Which noise levels training visits, and what each of them counts.

A density draws times or noise levels (B,); a weight multiplies a squared error per image (B,).
The squared error in x0 is c_out^2 times the squared error in the network's prediction
(:mod:`zeuxis.diffusion.precondition`): 1 / SNR for noise, 1 / (SNR + 1) for v.

Legend: B or n images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from zeuxis.errors import UsageError, lookup
from zeuxis.rng import Device, Rng

TimeDensity = Literal["uniform", "logit-normal"]


def uniform(rng: Rng, n: int, device: Device = "cpu") -> Tensor:
    """Times (n,) uniform in [0, 1)."""
    return rng.uniform(n, device=device)


def logit_normal(rng: Rng, n: int, device: Device = "cpu", mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Times (n,) in (0, 1) whose logit is normal (Esser et al. 2024, arXiv:2403.03206, Eq. 19)."""
    return (mean + std * rng.normal(n, device=device)).sigmoid()


def log_normal(rng: Rng, n: int, device: Device = "cpu", mean: float = -1.2, std: float = 1.2) -> Tensor:
    """Noise levels (n,) whose logarithm is normal (Karras et al. 2022, arXiv:2206.00364, Table 1)."""
    return (mean + std * rng.normal(n, device=device)).exp()


_DENSITIES: dict[str, Callable[[Rng, int, Device], Tensor]] = {"uniform": uniform, "logit-normal": logit_normal}


def density(name: TimeDensity) -> Callable[[Rng, int, Device], Tensor]:
    """The density of times in [0, 1] called ``name``."""
    return lookup("density of times", name, _DENSITIES)


def edm(sigma: Tensor, sigma_data: float = 0.5) -> Tensor:
    """The weight (B,) of the error in x0 that makes EDM's effective loss even (Karras et al. 2022, Table 1)."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def min_snr(sigma: Tensor, gamma: float = 5.0) -> Tensor:
    """The weight min(SNR, gamma) (B,) of the error in x0 (Hang et al. 2023, arXiv:2303.09556)."""
    if not gamma > 0:
        raise UsageError(f"gamma {gamma:g}: give a number above 0, such as 5, or 0 for no weight")
    return (sigma**-2).clamp(max=gamma)


def snr_plus_one(sigma: Tensor) -> Tensor:
    """The weight SNR + 1 (B,) of the error in x0: the error in v (Salimans & Ho 2022, arXiv:2202.00512, Section 4)."""
    return sigma**-2 + 1


def truncated_snr(sigma: Tensor) -> Tensor:
    """The weight max(SNR, 1) (B,) of the error in x0: the larger of those in x0 and in noise (the same, Section 4)."""
    return (sigma**-2).clamp(min=1)


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """The mean squared error of each image, (B,), in float32."""
    return (prediction.float() - target).square().flatten(1).mean(1)
