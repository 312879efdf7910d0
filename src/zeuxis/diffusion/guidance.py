"""Guidance: wrappers from denoiser to denoiser.

A conditional denoiser takes ``(x, sigma, signal)``. The signal holds named tensors whose first axis counts the
images: an embedded label, a read caption, or nothing. Guidance binds it and returns the ``denoise(x, sigma)``
that samplers know. Since x0, noise, v and velocity are affine in one another at a given x, guiding x0 is
guiding any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from zeuxis.diffusion.path import append_dims
from zeuxis.diffusion.sampler import Denoise

Signal = Mapping[str, Tensor]
ConditionalDenoise = Callable[[Tensor, Tensor, Signal], Tensor]


def bind_condition(denoise: ConditionalDenoise, signal: Signal) -> Denoise:
    """The denoiser under one condition, unguided."""
    return lambda x, sigma: denoise(x, sigma, signal)


def classifier_free(denoise: ConditionalDenoise, signal: Signal, null: Signal, scale: float) -> Denoise:
    """``null + scale (conditional - null)`` (Ho & Salimans 2022, arXiv:2207.12598), both in one forward pass.

    ``scale`` 1 is the plain conditional denoiser and 0 the unconditional one (the paper's w is ``scale - 1``).
    """
    if scale == 1 or not signal:  # with nothing to obey both are the same
        return bind_condition(denoise, signal)
    if scale == 0:
        return bind_condition(denoise, null)
    both = {name: torch.cat([signal[name], null[name]]) for name in signal}

    def guided(x: Tensor, sigma: Tensor) -> Tensor:
        conditional, plain = denoise(torch.cat([x, x]), torch.cat([sigma, sigma]), both).chunk(2)
        return plain.lerp(conditional, scale)

    return guided


def clamped(denoise: Denoise) -> Denoise:
    """x0 kept within [-1, 1], as DDPM's sampler does."""
    return lambda x, sigma: denoise(x, sigma).clamp(-1, 1)


def dynamic_threshold(denoise: Denoise, quantile: float = 0.995) -> Denoise:
    """Each x0 clipped to its own quantile, then scaled into [-1, 1] (Saharia et al. 2022, arXiv:2205.11487, 2.3)."""

    def thresholded(x: Tensor, sigma: Tensor) -> Tensor:
        x0 = denoise(x, sigma)
        limit = append_dims(x0.flatten(1).abs().quantile(quantile, dim=1).clamp(min=1), x0)
        return x0.clamp(-limit, limit) / limit

    return thresholded
