"""Projection: the latent of a generator whose picture is nearest to a given one, found by optimisation.

Karras, Laine, Aittala, Hellsten, Lehtinen & Aila 2019, "Analyzing and improving the image quality of StyleGAN"
(arXiv:1912.04958), appendix D. Symbols -> code:
    w -> latent    mu_w -> mean    sigma_w -> deviation, the root of E |w - mu_w|^2    lambda_max -> Projecting.rate
    t of the noise -> quiet_by, the share of the steps after which there is none

A latent alone leads back to the picture: the noise maps that the paper optimises beside it are those of
:meth:`zeuxis.verbs.Verbs.decode`. Of a generator with a mapping the latent is a style code, one for all layers as in
the paper, or one for each (W+: Abdal, Qin & Wonka 2019, "Image2StyleGAN", arXiv:1904.03189), and of others it is z.

Axes: W numbers of a latent or of a style code, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.errors import TrainingStopped, UsageError
from zeuxis.rng import Stream

STEPS = 1000
REPORTED = 10  # steps from one report to the next


@dataclass(frozen=True)
class Projecting:
    """How a latent is looked for; by default as in appendix D."""

    steps: int = STEPS
    rate: float = 0.1  # of Adam, at most
    warm_by: float = 0.05  # share of the steps in which the rate grows
    cool_from: float = 0.75  # share of the steps after which it falls
    noise: float = 0.05  # of the deviation, at first
    quiet_by: float = 0.75

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"{self.steps} steps: a latent is looked for in 1 or more, better in {STEPS}")

    def rate_at(self, k: int) -> float:
        """The rate of step ``k``: it grows straight from nothing, and falls to nothing as a cosine does."""
        done = (k + 1) / self.steps
        left = min(1.0, (1 - k / self.steps) / (1 - self.cool_from))
        return self.rate * min(1.0, done / self.warm_by) * (0.5 - 0.5 * math.cos(math.pi * left))

    def noise_at(self, k: int) -> float:
        """The noise of step ``k``, as a share of the deviation: 0.05 t^2, t from 1 to 0."""
        return self.noise * max(0.0, 1 - k / self.steps / self.quiet_by) ** 2


def projected(
    decode: Callable[[Tensor], Tensor],
    distance: Callable[[Tensor], Tensor],
    mean: Tensor,
    deviation: float,
    rng: Stream,
    how: Projecting = Projecting(),
    *,
    told: int = 0,
    report: Callable[[int, float], None] = lambda step, distance: None,
) -> Tensor:
    """The latent, of the shape of ``mean``, to which the search comes from there.

    Args:
        decode: the picture ``(1, C, H, W)`` of a latent; gradients flow through it.
        distance: of a picture from the one that is looked for, a scalar.
        mean: where it begins: ``(W,)``, a style code ``(1, W)`` for all layers, or one for each, ``(L, W)``.
        deviation: how far latents lie from it, the root of the mean square of the distance.
        told: how many of the last numbers are what the generator is told, which stay as they are.
        report: is called now and then with the step and the distance.

    Raises :class:`TrainingStopped` where the distance is no longer finite.
    """
    kept = mean.shape[-1] - told
    latent = mean[..., :kept].detach().clone().requires_grad_(True)
    fixed = mean[..., kept:].detach()
    optimiser = torch.optim.Adam([latent], lr=how.rate)
    for k in range(how.steps):
        optimiser.param_groups[0]["lr"] = how.rate_at(k)
        noise = deviation * how.noise_at(k) * rng.normal(*latent.shape, device=latent.device)
        away = distance(decode(torch.cat([latent + noise, fixed], -1)))
        (latent.grad,) = torch.autograd.grad(away, [latent])  # of the latent alone: the generator learns nothing
        optimiser.step()
        if k % REPORTED == 0:
            if not math.isfinite(float(away.detach())):
                raise TrainingStopped(f"the distance is not finite at step {k}: the model's weights are damaged")
            report(k, float(away.detach()))
    return torch.cat([latent.detach(), fixed], -1)
