"""Unsharp masking with a soft threshold, by which the published Real-ESRGAN sharpens its targets (2107.10833, 4.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WEIGHT = 0.5
REACH = 25  # pixels: a window of 51
SIGMA = 0.3 * (REACH - 1) + 0.8  # of that window, by OpenCV's rule
THRESHOLD = 10 / 127.5  # ten levels of 255


def sharpened(image: Tensor) -> Tensor:
    """``image`` (B, C, H, W) plus half of what a wide blur takes away, near where that is more than ten levels."""
    residual = image - _blurred(image)
    near = _blurred((residual.abs() > THRESHOLD).to(image.dtype))
    sharp = (image + WEIGHT * residual).clamp(-1, 1)
    return near * sharp + (1 - near) * image


def _blurred(image: Tensor) -> Tensor:
    """Under a Gaussian, mirrored at the edges; what reaches beyond the mirror of a small picture is cut off."""
    channels, height, width = image.shape[1:]
    for side, axis in ((height, 2), (width, 3)):
        reach = min(REACH, side - 1)
        x = torch.arange(-reach, reach + 1, dtype=torch.float64)
        weights = torch.exp(-0.5 * (x / SIGMA) ** 2)
        kernel = (weights / weights.sum()).to(image).view(1, 1, *((-1, 1) if axis == 2 else (1, -1)))
        padded = F.pad(image, (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0), mode="reflect")
        image = F.conv2d(padded, kernel.expand(channels, -1, -1, -1), groups=channels)
    return image
