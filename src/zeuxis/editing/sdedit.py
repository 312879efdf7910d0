"""Pictures drawn from a given one: put under noise and drawn from there, wholly or where a mask says so.

SDEdit: Meng, He, Song, Song, Wu, Zhu & Ermon 2022, "Guided image synthesis and editing with stochastic differential
equations" (arXiv:2108.01073), algorithm 1. What a mask keeps is led back to the picture at every level, as in RePaint
(Lugmayr et al. 2022, arXiv:2201.09865, Eq. 8), without its jumps back. At strength 1 what is made begins from noise
alone: under the greatest noise of a chain that a latent model learnt, 14.6, one still sees how light the picture was.

Symbols -> code: x^(g) -> picture    t_0 -> strength, as a share of the steps    Omega -> make
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from zeuxis.batch import Condition
from zeuxis.diffusion.editing import keeping, last_share
from zeuxis.errors import Unsupported
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng
from zeuxis.verbs import Verbs


def edited(
    system: Verbs,
    picture: Tensor,
    make: Tensor | None,
    strength: float,
    condition: Condition,
    rng: ImageRng,
    how: Sampling = Sampling(),
) -> Tensor:
    """The pictures ``(B, C, H, W)`` in [-1, 1] that ``system`` draws from ``picture`` ``(B, C, H, W)``.

    Args:
        system: with the verb ``denoiser`` and the knob ``sampler``; if it encodes too, latents are put under noise.
        make: ``(B, 1, H, W)``, 1 where it is to be drawn; what else there is stays as it is, bit for bit.
        strength: in (0, 1], the share of the steps that are taken; 1: nothing is left of what was where it is drawn.

    Raises :class:`Unsupported` for another system, :class:`zeuxis.errors.UsageError` where no step is left.
    """
    if "denoiser" not in system.can or "sampler" not in system.knobs:
        raise Unsupported(
            f"'{system.card.id}' takes no picture out of noise step by step: that is for diffusion models"
        )
    levels = last_share(system.levels(how), strength)
    latent = {"encode", "decode"} <= system.can
    start = system.encode(picture) if latent else picture
    denoise = system.denoiser(condition, len(rng), how)
    gone = torch.zeros_like(start) if strength == 1 else start
    if make is None:
        seen = gone
    else:
        drawn_at = functional.adaptive_max_pool2d(make, start.shape[2:])  # a latent that touches the mask is made
        denoise, seen = keeping(denoise, start, drawn_at), torch.where(drawn_at > 0.5, gone, start)
    noise = rng.normal(*start.shape, device=start.device)
    drawn = system.solver(how)(denoise, seen + float(levels[0]) * noise, levels, rng)
    made = (system.decode(drawn) if latent else drawn).clamp(-1, 1)
    return made if make is None else torch.where(make > 0.5, made, picture)
