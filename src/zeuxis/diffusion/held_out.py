"""Whether a denoiser learns, on pictures that training never sees: its error at fixed noise and eight fixed levels.

A training's own loss is drawn at random levels, and every method weighs them in its own way: from one iteration to the
next it jumps, and between methods it says nothing. What is measured here is the same for all of them, and free of
chance: E |D(x0 + sigma e) - x0|^2, for noise e that never changes, times (sigma^2 + d^2) / (sigma d)^2, EDM's weight
(Karras et al. 2022, arXiv:2206.00364, Table 1), with d = 0.5. In this unit 1 is what a denoiser comes to that knows
no more of pictures than their deviation d, and less is better at any level.

At the lowest levels it is texture that is learnt, at the highest the mean picture, and what things are between them.

Legend: B images x0 (B, C, H, W).
"""

from __future__ import annotations

from torch import Tensor

from zeuxis.diffusion.path import for_each
from zeuxis.diffusion.sampler import Denoise
from zeuxis.diffusion.weighting import edm, squared_error
from zeuxis.rng import Rng, normal_like

LEVELS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0)  # sigma in VE space, beside images in [-1, 1]


def errors_at_levels(denoise: Denoise, x0: Tensor, rng: Rng) -> dict[str, Tensor]:
    """The weighted error, a number, at each of :data:`LEVELS`, by ``"sigma 0.05"`` and so on. Draws one noise for all.

    ``denoise`` is without guidance, which trades this error for other things.
    """
    noise = normal_like(x0, rng)
    found = {}
    for sigma in LEVELS:
        level = for_each(sigma, x0)
        error = edm(level) * squared_error(denoise(x0 + sigma * noise, level), x0.float())  # (B,)
        found[f"sigma {sigma:g}"] = error.mean()
    return found
