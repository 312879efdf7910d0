"""Outliers: pictures that are not of a distribution, made from pictures that are, or from nothing but numbers.

What a detector learns to refuse when it is shown outliers (outlier exposure, Hendrycks et al. 2019, arXiv:1812.04606).
The hard ones are damaged pictures of the distribution itself: joined, pasted into, shuffled, turned; the easy ones are
constants, gradients, stripes, blots and noise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.nn.outliers import damaged, made
from zeuxis.nn.outliers.clips import Clips
from zeuxis.rng import Rng

Kind = Callable[[Tensor, Tensor, Rng], Tensor]

# What networks that read are shown, which need only notice what they cannot read.
CLASSIC: tuple[Kind, ...] = (damaged.halved, damaged.negative, damaged.painted)
MADE: tuple[Kind, ...] = (made.constant, made.striped, made.blotched, made.cluttered)
KINDS: tuple[Kind, ...] = (
    *MADE,
    damaged.mixed,
    damaged.covered,
    damaged.ruled,
    damaged.rolled,
    damaged.turned,
    damaged.enlarged,
    damaged.warped,
    damaged.recoloured,
    damaged.blurred,
    damaged.noisy,
    # What is least unlike the pictures is shown most often.
    *2 * (damaged.shuffled,),
    *3 * (damaged.patched,),
    *6 * (damaged.joined,),
    *5 * (damaged.pasted,),
)


def kinds_of(frames: int) -> tuple[Kind, ...]:
    """The kinds of outliers of pictures, or of clips of so many frames."""
    clips = Clips(frames)
    return KINDS if frames == 1 else (*KINDS, *2 * (clips.exchanged, clips.begun_late, clips.still))


def partners(image: Tensor, rng: Rng) -> Tensor:
    """Another picture of the batch for each ``(B, C, H, W)``: any, or for half of them the one that is most like it.

    Where one ends and the other begins shows least between two that are alike.
    """
    small = F.adaptive_avg_pool2d(image.float(), 2).flatten(1)  # (B, 4C)
    apart = torch.cdist(small, small) + torch.diag(torch.full((len(image),), torch.inf, device=image.device))
    alike = rng.uniform(len(image), 1, 1, 1, device=image.device) < 0.5
    return torch.where(alike, image[apart.argmin(1)], image.roll(1, 0))


def make_outliers(image: Tensor, rng: Rng, kinds: tuple[Kind, ...] = KINDS, others: Tensor | None = None) -> Tensor:
    """One outlier for each picture ``(B, C, H, W)`` in [-1, 1], of a kind drawn at random.

    ``others`` are the further pictures of which some are made; by default each picture's neighbour in the batch.
    """
    chosen = rng.integers(len(kinds), len(image), device=image.device)
    one, others = image.float(), (image.roll(1, 0) if others is None else others).float()
    found = torch.empty_like(one)
    for k in chosen.unique().tolist():
        rows = (chosen == k).nonzero()[:, 0]
        found[rows] = kinds[k](one[rows], others[rows], rng)
    return found.clamp(-1, 1).to(image.dtype)
