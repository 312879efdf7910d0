"""How far a picture is from an affine change of colours of another, near every pixel: the matting Laplacian.

Levin, Lischinski & Weiss 2008, "A closed-form solution to natural image matting", IEEE TPAMI 30(2), Eq. 9-12: over
windows w_k of 3x3 pixels, J(p) = sum_k min_(a, b) sum_(i in w_k) (p_i - a'I_i - b)^2 + epsilon a'a = p'Lp. As a penalty
of style transfer: Luan, Paris, Shechtman & Bala 2017, "Deep photo style transfer" (arXiv:1703.07511), section 3.1.
Symbols -> code:
    I -> guide    p -> a channel of image    mu_k, Sigma_k -> mean, covariance of the guide in a window    |w_k| -> 9

The least squares of each window are solved, so that no matrix of N x N pixels is made; the value is p'Lp all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

WINDOW = 3
EPSILON = 1e-7  # as in the authors' programs, of values in [0, 1]


@dataclass(frozen=True)
class MattingLaplacian:
    """L of one picture. Values are in float64: in flat windows what is left is a difference of nearly equal numbers."""

    guide: Tensor  # (1, 3, H, W) in [0, 1]
    mean: Tensor  # (1, 3, h, w) of each window; h = H - 2, w = W - 2
    inverse: Tensor  # (h, w, 3, 3): (Sigma_k + epsilon / |w_k|)^-1

    @classmethod
    def of(cls, picture: Tensor, epsilon: float = EPSILON) -> MattingLaplacian:
        """That of a picture ``(1, 3, H, W)`` in [-1, 1] of 3 pixels a side or more."""
        guide = (picture.double() + 1) / 2
        mean = _means(guide)
        pairs = _means((guide[:, :, None] * guide[:, None]).flatten(1, 2)).unflatten(1, (3, 3))  # (1, 3, 3, h, w)
        covariance = (pairs - mean[:, :, None] * mean[:, None])[0].permute(2, 3, 0, 1)  # (h, w, 3, 3)
        ridge = epsilon / WINDOW**2 * torch.eye(3, dtype=torch.float64, device=picture.device)
        return cls(guide, mean, torch.linalg.inv(covariance + ridge))

    def penalty(self, image: Tensor) -> Tensor:
        """sum_c V_c' L V_c (Luan et al., Eq. 2) of ``image`` ``(1, C, H, W)`` in [-1, 1], over its pixels: a scalar."""
        p = (image.double() + 1) / 2
        mean = _means(p)  # (1, C, h, w)
        variance = _means(p * p) - mean * mean
        both = _means((self.guide[:, :, None] * p[:, None]).flatten(1, 2)).unflatten(1, (3, -1))  # (1, 3, C, h, w)
        covariance = (both - self.mean[:, :, None] * mean[:, None])[0].permute(2, 3, 0, 1)  # (h, w, 3, C)
        explained = (covariance * (self.inverse @ covariance)).sum(2).permute(2, 0, 1)  # (C, h, w)
        left = WINDOW**2 * (variance[0] - explained)
        return left.sum() / (image.shape[2] * image.shape[3])


def _means(x: Tensor) -> Tensor:
    """Over each window that lies wholly inside."""
    return avg_pool2d(x, WINDOW, stride=1)
