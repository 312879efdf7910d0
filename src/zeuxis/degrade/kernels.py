"""Kernels of blur, one a picture, and the filter that applies them.

A kernel is ``(K, k, k)`` with k odd and sum 1; K is 1, for all pictures, or their number. Angles are in radians,
from the x-axis towards the y-axis (downwards); lengths in pixels.

Axes: k rows and columns of a kernel.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian(reach: int, sigma_x: Tensor, sigma_y: Tensor, angle: Tensor) -> Tensor:
    """Anisotropic Gaussians ``(K, 2 reach + 1, ...)`` of deviations ``(K,)`` along axes turned by ``angle`` (K,)."""
    return _normalised(torch.exp(-0.5 * _ellipse(reach, sigma_x, sigma_y, angle)))


def generalised(reach: int, sigma_x: Tensor, sigma_y: Tensor, angle: Tensor, beta: Tensor) -> Tensor:
    """``exp(-q^beta / 2)`` where a Gaussian has ``exp(-q / 2)``: flatter above 1, peaked below."""
    return _normalised(torch.exp(-0.5 * _ellipse(reach, sigma_x, sigma_y, angle) ** beta[:, None, None]))


def plateau(reach: int, sigma_x: Tensor, sigma_y: Tensor, angle: Tensor, beta: Tensor) -> Tensor:
    """``1 / (1 + q^beta)``: flat in the middle, with heavy tails (Real-ESRGAN, Wang et al. 2021, 2107.10833)."""
    return _normalised(1 / (1 + _ellipse(reach, sigma_x, sigma_y, angle) ** beta[:, None, None]))


def sinc(reach: int, cutoff: Tensor) -> Tensor:
    """Ideal circular low-pass filters of cutoff ``(K,)`` in (0, pi], which ring (2107.10833, Eq. 7)."""
    x, y = _grid(reach, cutoff)
    r = (x**2 + y**2).sqrt()
    w = cutoff[:, None, None]
    middle = w**2 / (4 * math.pi)
    around = w * torch.special.bessel_j1(w * r) / (2 * math.pi * r.clamp(min=1))
    return _normalised(torch.where(r == 0, middle, around))


def line(reach: int, length: Tensor, angle: Tensor) -> Tensor:
    """A movement along a straight line of ``length`` (K,), one pixel wide and anti-aliased."""
    x, y = _grid(reach, length)
    along, across = _turned(x, y, angle)
    beyond = (along.abs() - (length[:, None, None] - 1).clamp(min=0) / 2).clamp(min=0)  # a pixel is one long itself
    return _normalised((1 - (beyond**2 + across**2).sqrt()).clamp(min=0))


def disc(reach: int, radius: Tensor) -> Tensor:
    """The circle of confusion of a lens out of focus: an even disc of ``radius`` (K,), anti-aliased."""
    x, y = _grid(reach, radius)
    return _normalised((radius[:, None, None] + 0.5 - (x**2 + y**2).sqrt()).clamp(0, 1))


def filtered(image: Tensor, kernel: Tensor) -> Tensor:
    """``image`` (B, C, H, W) under ``kernel``, mirrored at its edges; what reaches beyond the mirror is cut off."""
    kernel = _within(kernel, image.shape[2], image.shape[3])
    v, h = kernel.shape[1] // 2, kernel.shape[2] // 2
    padded = F.pad(image, (h, h, v, v), mode="reflect")
    return F.conv2d(_as_groups(padded), *_weights(kernel, image)).view(image.shape)


def unfiltered(measured: Tensor, kernel: Tensor) -> Tensor:
    """The adjoint of :func:`filtered`."""
    kernel = _within(kernel, measured.shape[2], measured.shape[3])
    v, h = kernel.shape[1] // 2, kernel.shape[2] // 2
    weight, bias, stride, padding, dilation, groups = _weights(kernel, measured)
    wide = F.conv_transpose2d(_as_groups(measured), weight, bias, stride, padding, 0, groups, dilation)
    return fold(fold(wide.view(*measured.shape[:2], *wide.shape[2:]), v, 2), h, 3)


def fold(padded: Tensor, reach: int, axis: int) -> Tensor:
    """The adjoint of mirroring ``reach`` pixels at both ends of ``axis``: each mirrored pixel goes back to its own."""
    side = padded.shape[axis] - 2 * reach
    inside = padded.narrow(axis, reach, side).clone()
    inside.narrow(axis, 1, reach).add_(padded.narrow(axis, 0, reach).flip(axis))
    inside.narrow(axis, side - 1 - reach, reach).add_(padded.narrow(axis, reach + side, reach).flip(axis))
    return inside


def _grid(reach: int, like: Tensor) -> tuple[Tensor, Tensor]:
    x = torch.arange(-reach, reach + 1, dtype=like.dtype, device=like.device)
    return x[None, None, :], x[None, :, None]


def _turned(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return cos * x + sin * y, cos * y - sin * x


def _ellipse(reach: int, sigma_x: Tensor, sigma_y: Tensor, angle: Tensor) -> Tensor:
    along, across = _turned(*_grid(reach, sigma_x), angle)
    return (along / sigma_x[:, None, None]) ** 2 + (across / sigma_y[:, None, None]) ** 2  # q


def _normalised(kernel: Tensor) -> Tensor:
    return kernel / kernel.sum((1, 2), keepdim=True)


def _within(kernel: Tensor, height: int, width: int) -> Tensor:
    """Cut to what mirroring can supply: less than a whole side beyond each edge."""
    rows, columns = max(0, kernel.shape[1] // 2 - (height - 1)), max(0, kernel.shape[2] // 2 - (width - 1))
    if not rows and not columns:
        return kernel
    return _normalised(kernel[:, rows : kernel.shape[1] - rows, columns : kernel.shape[2] - columns])


def _as_groups(image: Tensor) -> Tensor:
    """``(1, B C, H, W)``: every channel of every picture is a group of its own."""
    return image.flatten(0, 1)[None]


def _weights(kernel: Tensor, image: Tensor) -> tuple[Tensor, None, int, int, int, int]:
    b, c = image.shape[:2]
    each = kernel.to(image).expand(b, -1, -1).repeat_interleave(c, 0)[:, None]  # (B C, 1, k, k)
    return each, None, 1, 0, 1, b * c
