"""Likelihoods in closed form. Everything is in nats per image, ``(B,)``: summed over all other axes."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

LOG_2PI = math.log(2 * math.pi)


def per_image(x: Tensor) -> Tensor:
    """``(B, ...)`` summed over every axis but the first: ``(B,)``."""
    return x.flatten(1).sum(1)


def kl_normal(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(0, 1)) in nats, ``(B, ...) -> (B,)`` (Kingma & Welling 2013, appendix B)."""
    return per_image(0.5 * (mean.square() + logvar.exp() - 1 - logvar))


def kl_normals(mean: Tensor, logvar: Tensor, other_mean: Tensor, other_logvar: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(other_mean, exp(other_logvar))) in nats, ``(B, ...) -> (B,)``."""
    apart = (mean - other_mean).square()
    return per_image(0.5 * (other_logvar - logvar - 1 + (logvar.exp() + apart) * (-other_logvar).exp()))


def bernoulli_nll(logits: Tensor, target: Tensor) -> Tensor:
    """-log p(target) of independent Bernoulli pixels; ``target`` in [0, 1] (not [-1, 1]), same shape as ``logits``."""
    return per_image(binary_cross_entropy_with_logits(logits, target, reduction="none"))


def gaussian_nll(mean: Tensor, target: Tensor, logvar: Tensor | float = 0.0) -> Tensor:
    """-log N(target; mean, exp(logvar)), with the constant; ``logvar`` broadcasts against ``mean``."""
    logvar = torch.as_tensor(logvar, dtype=mean.dtype, device=mean.device)
    return per_image(0.5 * (LOG_2PI + logvar + (target - mean).square() * (-logvar).exp()))


def logistic_bin(mean: Tensor, log_scale: Tensor, target: Tensor, levels: int = 256) -> Tensor:
    """log P(pixel) of a logistic integrated over the pixel's bin, elementwise; the end bins reach to infinity.

    ``target`` holds one of ``levels`` equally spaced values in [-1, 1]; all three broadcast.
    Salimans et al. 2017 (arXiv:1701.05517), Eq. 2 for one component. For neighbouring ends
    a > b, log(sigmoid(a) - sigmoid(b)) = logsigmoid(a) + logsigmoid(-b) + log(1 - exp(b - a)),
    which keeps its gradient far out in the tails where the difference itself underflows.
    """
    half = 1 / (levels - 1)  # half a bin
    inverse = (-log_scale).exp()
    upper = (target - mean + half) * inverse
    lower = (target - mean - half) * inverse
    width = torch.as_tensor(2 * half, dtype=mean.dtype, device=mean.device) * inverse  # upper - lower
    inside = logsigmoid(upper) + logsigmoid(-lower) + torch.log(-torch.expm1(-width))
    first = target < -1 + half
    last = target > 1 - half
    return torch.where(first, logsigmoid(upper), torch.where(last, logsigmoid(-lower), inside))


def discretised_logistic_nll(mean: Tensor, log_scale: Tensor, target: Tensor, levels: int = 256) -> Tensor:
    """-log P of images under one logistic a pixel, ``(B,)``; see :func:`logistic_bin`."""
    return -per_image(logistic_bin(mean, log_scale, target, levels))
