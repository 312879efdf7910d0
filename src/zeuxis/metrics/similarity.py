"""How near a picture is to its target: PSNR and SSIM.

Both take ``(B, C, H, W)`` and ``data_range``, the distance between black and white; SSIM, whose
first term compares brightness, asks for the value of ``black`` as well. The defaults are this
library's [-1, 1]; for bytes give ``black=0, data_range=255``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.errors import UsageError

WINDOW, SIGMA = 11, 1.5  # Wang et al. 2004, section III-B
K1, K2 = 0.01, 0.03


def psnr(image: Tensor, target: Tensor, data_range: float = 2.0) -> Tensor:
    """Peak signal-to-noise ratio of each image in decibels ``(B,)``; infinite for equal images. Higher is nearer."""
    _same(image, target)
    error = (image.double() - target.double()).square().flatten(1).mean(1)
    return 10 * torch.log10(data_range**2 / error)


def ssim(image: Tensor, target: Tensor, data_range: float = 2.0, black: float = -1.0) -> Tensor:
    """Structural similarity of each image ``(B,)``, 1 for equal images.

    Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", Eq. 13:
    an 11x11 Gaussian window of deviation 1.5, averaged over channels and, as in the authors' program, over the
    places where it lies wholly inside.
    """
    _same(image, target)
    if min(image.shape[-2:]) < WINDOW:
        raise UsageError(f"SSIM needs images of {WINDOW} pixels a side, not {image.shape[-2]}x{image.shape[-1]}")
    x, y = image.double() - black, target.double() - black
    mx, my = _blur(x), _blur(y)
    vx, vy, cov = _blur(x * x) - mx * mx, _blur(y * y) - my * my, _blur(x * y) - mx * my
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    index = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return index.flatten(1).mean(1)


def _same(image: Tensor, target: Tensor) -> None:
    if image.shape != target.shape or image.ndim != 4:
        raise UsageError(f"pictures {tuple(image.shape)} and {tuple(target.shape)} cannot be compared pixel by pixel")


def _blur(x: Tensor) -> Tensor:
    """Gaussian-weighted local means: (B, C, H, W) -> (B, C, H - 10, W - 10)."""
    at = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    weights = torch.exp(-(at**2) / (2 * SIGMA**2))
    weights = weights / weights.sum()
    planes = x.flatten(0, 1)[:, None]  # (B * C, 1, H, W)
    planes = F.conv2d(F.conv2d(planes, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
    return planes.view(*x.shape[:2], *planes.shape[-2:])
