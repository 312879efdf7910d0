"""Linear degradations, each with its adjoint."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.degrade.degradation import Linear
from zeuxis.errors import UsageError

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Grey(Linear):
    """Takes the colour away and keeps the three channels; grey pictures stay as they are."""

    name = "grey"

    def apply(self, image: Tensor) -> Tensor:
        if image.shape[1] == 1:
            return image
        return self._luma(image).mul(image).sum(1, keepdim=True).expand_as(image)

    def adjoint(self, measured: Tensor) -> Tensor:
        if measured.shape[1] == 1:
            return measured
        return measured.sum(1, keepdim=True) * self._luma(measured)

    def _luma(self, image: Tensor) -> Tensor:
        if image.shape[1] != 3:
            raise UsageError(f"grey: pictures have {image.shape[1]} channels: give it 1 or 3")
        return image.new_tensor(LUMA)[:, None, None]  # (3, 1, 1)


@dataclass(frozen=True)
class Shrink(Linear):
    """Makes the picture ``factor`` times smaller a side: every pixel is the mean of a square of pixels."""

    factor: int
    name = "shrink"

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise UsageError(f"shrink:{self.factor}: the factor must be at least 1")

    def apply(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        if height % self.factor or width % self.factor:
            raise UsageError(f"shrink:{self.factor}: {width}x{height} pixels cannot be divided by it evenly")
        return F.avg_pool2d(image, self.factor)

    def adjoint(self, measured: Tensor) -> Tensor:
        large = measured.repeat_interleave(self.factor, 2).repeat_interleave(self.factor, 3)
        return large / self.factor**2


@dataclass(frozen=True)
class Blur(Linear):
    """Gaussian blur of standard deviation ``sigma`` pixels; the picture is mirrored at its edges.

    The kernel reaches three standard deviations, but never beyond the mirrored picture.
    """

    sigma: float
    name = "blur"

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise UsageError(f"blur:{self.sigma:g}: the standard deviation must be above 0 pixels")

    def _kernel(self, side: int, like: Tensor) -> Tensor:
        reach = min(math.ceil(3 * self.sigma), side - 1)
        x = torch.arange(-reach, reach + 1, dtype=torch.float64)
        weights = torch.exp(-0.5 * (x / self.sigma) ** 2)
        return (weights / weights.sum()).to(like)

    def apply(self, image: Tensor) -> Tensor:
        channels, height, width = image.shape[1:]
        rows, columns = self._kernel(height, image), self._kernel(width, image)
        v, h = len(rows) // 2, len(columns) // 2
        padded = F.pad(image, (h, h, v, v), mode="reflect")
        padded = F.conv2d(padded, rows.view(1, 1, -1, 1).expand(channels, -1, -1, -1), groups=channels)
        return F.conv2d(padded, columns.view(1, 1, 1, -1).expand(channels, -1, -1, -1), groups=channels)

    def adjoint(self, measured: Tensor) -> Tensor:
        channels, height, width = measured.shape[1:]
        rows, columns = self._kernel(height, measured), self._kernel(width, measured)
        wide = F.conv_transpose2d(measured, columns.view(1, 1, 1, -1).expand(channels, -1, -1, -1), groups=channels)
        wide = F.conv_transpose2d(wide, rows.view(1, 1, -1, 1).expand(channels, -1, -1, -1), groups=channels)
        return _fold(_fold(wide, len(rows) // 2, 2), len(columns) // 2, 3)


def _fold(padded: Tensor, reach: int, axis: int) -> Tensor:
    """The adjoint of mirroring ``reach`` pixels at both ends of ``axis``: each mirrored pixel goes back to its own."""
    side = padded.shape[axis] - 2 * reach
    inside = padded.narrow(axis, reach, side).clone()
    inside.narrow(axis, 1, reach).add_(padded.narrow(axis, 0, reach).flip(axis))
    inside.narrow(axis, side - 1 - reach, reach).add_(padded.narrow(axis, reach + side, reach).flip(axis))
    return inside


@dataclass(frozen=True)
class Mask(Linear):
    """Paints a centred box of ``share`` of each side middle grey. It is its own adjoint."""

    share: float
    name = "mask"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(f"mask:{self.share:g}: the share of each side must lie in (0, 1]")

    def mask(self, image: Tensor) -> Tensor:
        """``(B, 1, H, W)``: 1 where the picture is lost, as in ``Condition.mask``."""
        height, width = image.shape[2:]
        lost = image.new_zeros(len(image), 1, height, width)
        rows, columns = round(self.share * height), round(self.share * width)
        top, left = (height - rows) // 2, (width - columns) // 2
        lost[:, :, top : top + rows, left : left + columns] = 1
        return lost

    def apply(self, image: Tensor) -> Tensor:
        return image * (1 - self.mask(image))

    def adjoint(self, measured: Tensor) -> Tensor:
        return self.apply(measured)
