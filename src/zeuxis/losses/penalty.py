"""Penalties on a critic's slope, themselves differentiable: norms in float32 whatever the critic's precision, in
float64 of pictures in float64.

A ``critic`` maps images ``(B, C, H, W)`` to logits ``(B, ...)``; each image's logits must depend
on that image alone, or the slope is also what an image does to the others' logits, as with batch normalisation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zeuxis.rng import Rng

Critic = Callable[[Tensor], Tensor]


def judged(critic: Critic, image: Tensor) -> tuple[Tensor, Tensor]:
    """The critic's logits of images, and the slope there: both of one pass, for a loss and its penalty.

    The slope is the gradient of each image's summed logits by that image, ``(B, C*H*W)``, itself differentiable.
    """
    image = image.detach().to(torch.promote_types(image.dtype, torch.float32)).requires_grad_()
    logits = critic(image)
    (gradient,) = torch.autograd.grad(logits.to(image.dtype).sum(), image, create_graph=True)
    return logits, gradient.flatten(1)


def slopes(critic: Critic, image: Tensor) -> Tensor:
    """The slope of :func:`judged` alone."""
    return judged(critic, image)[1]


def zero_centred(slope: Tensor) -> Tensor:
    """E|slope|^2 of slopes ``(B, D)``: R1 of those at real images, R2 at made ones (Mescheder 2018, 1801.04406)."""
    return slope.square().sum(1).mean()


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, rng: Rng, target: float = 1.0) -> Tensor:
    """E[(|grad D(x_hat)| - target)^2], x_hat uniform on the line from each real to its fake.

    Gulrajani et al. 2017 (arXiv:1704.00028), Eq. 3, two-sided; one interpolation weight per image.
    """
    epsilon = rng.uniform(len(real), 1, 1, 1, device=real.device)
    mixed = epsilon * real + (1 - epsilon) * fake  # x_hat = eps x + (1 - eps) x_tilde
    return (slopes(critic, mixed).norm(dim=1) - target).square().mean()


def r1(critic: Critic, real: Tensor) -> Tensor:
    """E|grad D(x)|^2 at real images; a paper's penalty is gamma / 2 times this (Mescheder 2018, 1801.04406, Eq. 9)."""
    return zero_centred(slopes(critic, real))


def dragan(critic: Critic, real: Tensor, rng: Rng, scale: float = 0.5, target: float = 1.0) -> Tensor:
    """E[(|grad D(x + delta)| - target)^2] around real images (Kodali et al. 2017, arXiv:1705.07215).

    delta mixes, per image, towards x + scale * std(batch) * U[0, 1), as in the authors' program.
    """
    alpha = rng.uniform(len(real), 1, 1, 1, device=real.device)
    noise = scale * real.std() * rng.uniform(*real.shape, device=real.device)
    return (slopes(critic, real + alpha * noise).norm(dim=1) - target).square().mean()
