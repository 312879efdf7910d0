"""Linear degradations that leave fewer pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.degrade.degradation import Linear, require_divisible
from zeuxis.errors import UsageError


class Smaller(Linear):
    """Divides each side by ``factor``."""

    factor: int

    def _shrunk(self, image: Tensor) -> Tensor:
        raise NotImplementedError

    def apply(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        require_divisible(str(self), width, height, self.factor)
        return self._shrunk(image)

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise UsageError(f"{self}: the factor must be at least 1")


@dataclass(frozen=True)
class Shrink(Smaller):
    """Shrinks by area: every pixel is the mean of a square of pixels, as on a sensor of fewer, larger ones."""

    factor: int = 4
    name = "shrink"
    local = True

    def _shrunk(self, image: Tensor) -> Tensor:
        return F.avg_pool2d(image, self.factor)

    def adjoint(self, measured: Tensor) -> Tensor:
        large = measured.repeat_interleave(self.factor, 2).repeat_interleave(self.factor, 3)
        return large / self.factor**2


@dataclass(frozen=True)
class Bicubic(Smaller):
    """Shrinks by a cubic filter as wide as the new pixels (antialiased, as in Pillow): the "x4" of the literature."""

    factor: int = 4
    name = "bicubic"
    local = True

    def _shrunk(self, image: Tensor) -> Tensor:
        size = (image.shape[2] // self.factor, image.shape[3] // self.factor)
        return F.interpolate(image, size, mode="bicubic", antialias=True)

    def adjoint(self, measured: Tensor) -> Tensor:
        b, c, h, w = measured.shape
        with torch.enable_grad():  # the gradient of <A x, y> with respect to x is A* y
            x = measured.new_zeros(b, c, h * self.factor, w * self.factor, requires_grad=True)
            (back,) = torch.autograd.grad(self._shrunk(x), x, measured)
        return back


@dataclass(frozen=True)
class Subsample(Smaller):
    """Keeps one pixel of every square and loses the rest, so that what is fine is aliased."""

    factor: int = 4
    name = "subsample"
    local = True

    def _shrunk(self, image: Tensor) -> Tensor:
        return image[:, :, :: self.factor, :: self.factor]

    def adjoint(self, measured: Tensor) -> Tensor:
        b, c, h, w = measured.shape
        back = measured.new_zeros(b, c, h * self.factor, w * self.factor)
        back[:, :, :: self.factor, :: self.factor] = measured
        return back
