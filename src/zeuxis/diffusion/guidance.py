"""Guidance: wrappers from denoiser to denoiser.

A conditional denoiser takes ``(x, sigma, conditioning)``. The conditioning holds named tensors whose first axis counts
the images (an embedded label, the vectors of a caption's words, or nothing; :mod:`zeuxis.nn.conditioner` makes it).
Guidance binds it and returns the ``denoise(x, sigma)`` that samplers know. Since x0, noise, v and velocity are affine
in one another at a given x, guiding x0 is guiding any of them.

They hand sigma on as they get it, (B,) or a plain number (:class:`zeuxis.diffusion.sampler.ByLevel`).

To whatever conditioning there is, guidance adds ``conditional`` (B,) bool: which rows of the batch stand under the
condition and which under none. Networks make nothing of it; whoever steers attention does (:mod:`zeuxis.nn.control`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zeuxis.batch import Conditioning as Conditioning
from zeuxis.diffusion.path import Level, Path, append_dims, for_each
from zeuxis.diffusion.precondition import Prediction, in_ve
from zeuxis.diffusion.sampler import ByLevel, Denoise, of_any_level

ConditionalDenoise = Callable[[Tensor, Tensor, Conditioning], Tensor]
Rescale = Callable[[Tensor, Any, Tensor, Tensor], Tensor]  # of x, sigma, the answer under the condition, the guided one


def bind_condition(denoise: ConditionalDenoise, conditioning: Conditioning, conditional: bool = True) -> Denoise:
    """The denoiser under one conditioning, unguided; ``conditional`` is false where that is the null conditioning."""
    marked = _marked(conditioning, conditional)
    return lambda x, sigma: denoise(x, sigma, marked)


def classifier_free(
    denoise: ConditionalDenoise,
    conditioning: Conditioning,
    null: Conditioning,
    scale: float,
    rescale: Rescale | None = None,
) -> Denoise:
    """``null + scale (conditional - null)`` (Ho & Salimans 2022, arXiv:2207.12598), both in one forward pass.

    ``scale`` 1 is the plain conditional denoiser and 0 the unconditional one (the paper's w is ``scale - 1``).
    ``rescale`` makes something else of what is guided; see :func:`rescaled`.
    """
    if scale == 1 or not conditioning:  # without a condition both are the same
        return bind_condition(denoise, conditioning)
    if scale == 0:
        return bind_condition(denoise, null, conditional=False)
    halves = _marked(conditioning, True), _marked(null, False)
    both = {name: torch.cat([half[name] for half in halves]) for name in halves[0]}  # each (2 B, ...)

    def guided(x: Tensor, sigma: Tensor) -> Tensor:
        twice = torch.cat([sigma, sigma]) if isinstance(sigma, Tensor) else sigma
        conditional, plain = denoise(torch.cat([x, x]), twice, both).chunk(2)
        found = plain.lerp(conditional, scale)
        return found if rescale is None else rescale(x, sigma, conditional, found)

    return guided


def rescaled(path: Path, predicts: Prediction, share: float) -> Rescale | None:
    """The guided answer with the contrast of the unguided one (Lin et al. 2023, arXiv:2305.08891, Section 3.4).

    What the network predicts is scaled to the deviation that it has under the condition alone, and ``share`` (the
    paper's phi) of that is taken: without it, high scales give glaring pictures, most of all where a chain ends at zero
    signal-to-noise ratio. None where the share is 0.
    """
    if not share:
        return None

    def rescale(x: Tensor, sigma: Level, conditional: Tensor, guided: Tensor) -> Tensor:
        c = in_ve(predicts, path, sigma)
        kept = append_dims(c.skip, x) * x
        ratio = _deviation(conditional - kept) / _deviation(guided - kept).clamp(min=1e-12)  # c_out is in both
        return kept + append_dims(1 + share * (ratio - 1), x) * (guided - kept)

    return rescale


def _deviation(x: Tensor) -> Tensor:
    return x.flatten(1).std(1)


def autoguided(denoise: Denoise, guide: Denoise, scale: float) -> Denoise:
    """``guide + scale (denoise - guide)``: away from what a weaker version of the same model makes of ``x``.

    Karras et al. 2024, "Guiding a diffusion model with a bad version of itself", arXiv:2406.02507. ``scale`` 1 is the
    model alone. Both see the same condition, so it improves pictures without making them more typical of it.
    """
    if scale == 1:
        return denoise
    return lambda x, sigma: guide(x, sigma).lerp(denoise(x, sigma), scale)


def _marked(conditioning: Conditioning, conditional: bool) -> Conditioning:
    """The same with ``conditional`` (B,), unless it is empty."""
    for tensor in conditioning.values():
        return {**conditioning, "conditional": tensor.new_full((len(tensor),), conditional, dtype=torch.bool)}
    return conditioning


def classifier_guided(denoise: Denoise, log_prob: Callable[[Tensor, Tensor], Tensor], scale: float) -> ByLevel:
    """``x0 + scale sigma^2 grad log p(y | x, sigma)`` (Dhariwal & Nichol 2021, arXiv:2105.05233, Alg. 1 and 2).

    In VE space the score is (x0 - x) / sigma^2, so what is added to the score is added to x0 sigma^2 times over; at
    ``scale`` 1 it is Bayes' rule. ``log_prob`` (x, sigma (B,)) -> (B,) is the classifier's, of the noisy images x. Its
    gradient is taken also where gradients are switched off.
    """

    def guided(x: Tensor, sigma: Level) -> Tensor:
        follow = torch.is_grad_enabled() and x.requires_grad
        with torch.inference_mode(False), torch.enable_grad():
            at = x if follow else x.detach().clone().requires_grad_(True)
            level = for_each(sigma, at) if isinstance(sigma, float) else sigma.clone()
            (slope,) = torch.autograd.grad(log_prob(at, level).sum(), at, create_graph=follow)
        return asked(x, sigma) + append_dims(scale * sigma**2, x) * slope

    asked = of_any_level(denoise)
    return ByLevel(guided)


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
