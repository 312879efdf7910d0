"""Blurs: defocus, motion, Gaussian. Pictures are mirrored at their edges.

Axes: k rows and columns of a kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.degrade import kernels
from zeuxis.degrade.degradation import Degradation, Linear
from zeuxis.errors import UsageError
from zeuxis.rng import Rng


def _numbers(*values: float) -> tuple[Tensor, ...]:
    return tuple(torch.tensor([value], dtype=torch.float64) for value in values)


def _positive(part: Linear, value: float, what: str) -> None:
    if not 0 < value < math.inf:
        raise UsageError(f"{part}: {what} must be above 0 pixels")


@dataclass(frozen=True)
class Blur(Linear):
    """Gaussian blur of standard deviation ``sigma`` pixels.

    The kernel reaches three standard deviations, but never beyond the mirrored picture.
    """

    sigma: float = 2.0
    name = "blur"
    local = True

    def __post_init__(self) -> None:
        _positive(self, self.sigma, "the standard deviation")

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
        return kernels.fold(kernels.fold(wide, len(rows) // 2, 2), len(columns) // 2, 3)


class Filter(Linear):
    """A blur by one kernel for all pictures."""

    def kernel(self) -> Tensor:
        """``(1, k, k)``."""
        raise NotImplementedError

    def apply(self, image: Tensor) -> Tensor:
        return kernels.filtered(image, self.kernel())

    def adjoint(self, measured: Tensor) -> Tensor:
        return kernels.unfiltered(measured, self.kernel())


@dataclass(frozen=True)
class Smear(Filter):
    """Anisotropic Gaussian blur: ``along`` and ``across`` pixels about an axis turned by ``degrees``."""

    along: float = 3.0
    across: float = 1.0
    degrees: float = 30.0
    name = "smear"
    local = True

    def __post_init__(self) -> None:
        _positive(self, self.along, "the deviation along")
        _positive(self, self.across, "the deviation across")

    def kernel(self) -> Tensor:
        return kernels.gaussian(
            math.ceil(3 * max(self.along, self.across)),
            *_numbers(self.along, self.across, math.radians(self.degrees)),
        )


@dataclass(frozen=True)
class MotionBlur(Filter):
    """The camera moves ``length`` pixels in a straight line, in the direction of ``degrees``."""

    length: float = 9.0
    degrees: float = 30.0
    name = "motion"
    local = True

    def __post_init__(self) -> None:
        _positive(self, self.length, "the length")

    def kernel(self) -> Tensor:
        return kernels.line(math.ceil(self.length / 2) + 1, *_numbers(self.length, math.radians(self.degrees)))


@dataclass(frozen=True)
class Defocus(Filter):
    """Out of focus: every point becomes a disc of ``radius`` pixels."""

    radius: float = 3.0
    name = "defocus"
    local = True

    def __post_init__(self) -> None:
        _positive(self, self.radius, "the radius")

    def kernel(self) -> Tensor:
        return kernels.disc(math.ceil(self.radius + 0.5), *_numbers(self.radius))


@dataclass(frozen=True)
class BlindBlur(Degradation):
    """A blur of a kind and strength that nobody tells, drawn for every picture.

    Out of focus (a disc), moved (a line in any direction) or soft (a Gaussian), as often each; its standard deviation
    along its widest axis is drawn evenly from ``least`` to ``most`` pixels. A disc of radius r has r / 2, a line of
    length L has L / sqrt(12).
    """

    least: float = 0.3
    most: float = 2.5
    name = "blind-blur"
    local = True

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.most < math.inf:
            raise UsageError(f"{self}: write the least and the most standard deviation, 0 < least <= most pixels")

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        b = len(image)
        kind = rng.integers(3, b, device=image.device)[:, None, None]
        sigma = self.least + (self.most - self.least) * rng.uniform(b, device=image.device).double()  # (B,)
        angle = math.pi * rng.uniform(b, device=image.device).double()
        reach = math.ceil(3 * self.most)
        soft = kernels.gaussian(reach, sigma, sigma, angle)  # (B, k, k)
        moved = kernels.line(reach, math.sqrt(12) * sigma, angle)
        disc = kernels.disc(reach, 2 * sigma)
        kernel = torch.where(kind == 0, disc, torch.where(kind == 1, moved, soft))
        return kernels.filtered(image, kernel).clamp(-1, 1)
