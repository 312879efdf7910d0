"""Path length: how far a picture moves as its style code does, which a smooth generator keeps the same everywhere.

Karras et al. 2019 (arXiv:1912.04958), section 3.2 and appendix B.

Axes: L layers that are given a code each, W numbers of a code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zeuxis.rng import Rng


def path_lengths(image: Tensor, codes: Tensor, rng: Rng) -> Tensor:
    """|J^T y| of each picture, ``(B,)``, itself differentiable.

    ``image`` ``(B, C, H, W)`` was made of ``codes`` ``(B, L, W)``, one a layer; y is normal, of variance 1 / (H W); the
    squares are averaged over layers.
    """
    y = rng.normal(*image.shape, device=image.device) / math.sqrt(image.shape[2] * image.shape[3])
    (jacobian,) = torch.autograd.grad((image.float() * y).sum(), codes, create_graph=True)
    return jacobian.float().square().sum(2).mean(1).sqrt()


def path_length_penalty(lengths: Tensor, mean: Tensor, decay: float = 0.01) -> Tensor:
    """E[(|J^T y| - a)^2] (Eq. 4), a the running ``mean`` once these ``lengths`` ``(B,)`` have moved it by ``decay``."""
    return (lengths - mean.lerp(lengths.mean(), decay)).square().mean()
