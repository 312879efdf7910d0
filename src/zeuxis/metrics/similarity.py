"""How near a picture is to its target: PSNR and SSIM, of all its values or of its luminance, and sharpness.

All take ``(B, C, H, W)`` and ``data_range``, the distance between black and white; SSIM, whose
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
LUMA = (65.481, 128.553, 24.966)  # of BT.601 in 8 bits, whose black is 16 and whose white is 235


def psnr(image: Tensor, target: Tensor, data_range: float = 2.0) -> Tensor:
    """Peak signal-to-noise ratio of each image in decibels ``(B,)``; infinite for equal images. Higher is nearer."""
    _same(image, target, data_range)
    error = (image.double() - target.double()).square().flatten(1).mean(1)
    return 10 * torch.log10(data_range**2 / error)


def ssim(image: Tensor, target: Tensor, data_range: float = 2.0, black: float = -1.0) -> Tensor:
    """Structural similarity of each image ``(B,)``, 1 for equal images.

    Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", Eq. 13:
    an 11x11 Gaussian window of deviation 1.5, averaged over channels and, as in the authors' program, over the
    places where it lies wholly inside.
    """
    _same(image, target, data_range)
    if min(image.shape[-2:]) < WINDOW:
        raise UsageError(f"SSIM needs images of {WINDOW} pixels a side, not {image.shape[-2]}x{image.shape[-1]}")
    x, y = image.double() - black, target.double() - black
    mx, my = _blur(x), _blur(y)
    vx, vy, cov = _blur(x * x) - mx * mx, _blur(y * y) - my * my, _blur(x * y) - mx * my
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    index = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return index.flatten(1).mean(1)


def sharpness(image: Tensor, target: Tensor, data_range: float = 2.0) -> Tensor:
    """The sharpness difference of each image in decibels ``(B,)``; infinite for equal slopes. Higher is nearer.

    Mathieu, Couprie & LeCun 2016, "Deep multi-scale video prediction beyond mean square error" (arXiv:1511.05440),
    section 3.1: as PSNR, of |(|Y_i,j - Y_i-1,j| + |Y_i,j - Y_i,j-1|) - (the same of the image)|, which is not squared.
    Its first row and column, which have no neighbours before them, do not count.
    """
    _same(image, target, data_range)
    if min(image.shape[-2:]) < 2:
        raise UsageError(f"sharpness needs images of 2 pixels a side, not {image.shape[-2]}x{image.shape[-1]}")
    away = (_slopes(image) - _slopes(target)).abs().flatten(1).mean(1)
    return 10 * torch.log10(data_range**2 / away)


def _slopes(image: Tensor) -> Tensor:
    """|x_i,j - x_i-1,j| + |x_i,j - x_i,j-1|, float64 ``(B, C, H - 1, W - 1)``."""
    x = image.double()
    return (x[:, :, 1:, 1:] - x[:, :, :-1, 1:]).abs() + (x[:, :, 1:, 1:] - x[:, :, 1:, :-1]).abs()


def luminance(image: Tensor) -> Tensor:
    """Y of ITU-R BT.601 ``(B, 1, H, W)``, float64 in [16, 235], of colours in [-1, 1] in 256 levels; grey ones in [0,
    255] as they are.

    As MATLAB's rgb2ycbcr, whose result the literature on restoration measures; it is not rounded, as in BasicSR.
    """
    levels = ((image.double().clamp(-1, 1) + 1) * 127.5).round()  # [0, 255]
    if image.shape[1] == 1:
        return levels
    if image.shape[1] != 3:
        raise UsageError(f"luminance is of pictures of 1 or 3 channels, not {image.shape[1]}")
    return 16 + (levels / 255 * levels.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def psnr_y(image: Tensor, target: Tensor) -> Tensor:
    """:func:`psnr` of the luminance ``(B,)``."""
    _same(image, target)
    return psnr(luminance(image), luminance(target), data_range=255)


def ssim_y(image: Tensor, target: Tensor) -> Tensor:
    """:func:`ssim` of the luminance ``(B,)``."""
    _same(image, target)
    return ssim(luminance(image), luminance(target), data_range=255, black=0)


def cropped(image: Tensor, border: int) -> Tensor:
    """The same without its ``border`` outermost pixels, which the literature leaves out of what was enlarged."""
    height, width = image.shape[-2:]
    if min(height, width) <= 2 * border:
        raise UsageError(f"nothing is left of {width}x{height} pixels without a border of {border}: give larger ones")
    return image[..., border : height - border, border : width - border]


def _same(image: Tensor, target: Tensor, data_range: float = 2.0) -> None:
    if image.shape != target.shape or image.ndim != 4:
        raise UsageError(f"pictures {tuple(image.shape)} and {tuple(target.shape)} cannot be compared pixel by pixel")
    if data_range <= 2 and not (image.is_floating_point() and target.is_floating_point()):
        raise UsageError(
            f"pictures of {image.dtype} and {target.dtype} have no range of {data_range:g}: give data_range=255 (and "
            "black=0), or real numbers in [-1, 1]"
        )


def _blur(x: Tensor) -> Tensor:
    """Gaussian-weighted local means: (B, C, H, W) -> (B, C, H - 10, W - 10)."""
    at = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    weights = torch.exp(-(at**2) / (2 * SIGMA**2))
    weights = weights / weights.sum()
    planes = x.flatten(0, 1)[:, None]  # (B * C, 1, H, W)
    planes = F.conv2d(F.conv2d(planes, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
    return planes.view(*x.shape[:2], *planes.shape[-2:])
