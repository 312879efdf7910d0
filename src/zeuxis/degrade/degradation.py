"""The base classes of degradations, which map a picture to a degraded one.

Images are ``(B, C, H, W)`` in [-1, 1], so that 0 is middle grey, and stay there, as no picture file holds more; a
degradation may change H and W.
A linear one, ``y = A x``, also has its adjoint: ``<A x, y> = <x, A* y>`` for every x and y.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from zeuxis.errors import Unsupported, UsageError
from zeuxis.rng import Rng


class Degradation:
    """A frozen dataclass of numbers whose ``name`` and values are its spelling: ``blur:2``."""

    name: ClassVar[str]
    local: ClassVar[bool] = False  # what was lost is seen in a pixel's surroundings, and is grain at full resolution

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        """The degraded images; whatever is random about them comes from ``rng``."""
        raise NotImplementedError

    def target(self, image: Tensor) -> Tensor:
        """What training is to make of the degraded ``image``: itself, unless what is cited has it otherwise."""
        return image

    def __str__(self) -> str:
        mine: Any = self  # every subclass is a dataclass, which a base class cannot say
        values = [_spelled(getattr(mine, field.name)) for field in fields(mine)]
        return f"{self.name}:{','.join(values)}" if values else self.name


def _spelled(value: int | float | str) -> str:
    return value if isinstance(value, str) else f"{value:.12g}"


class Masking(Degradation):
    """A degradation that hides a part of the picture and can say which."""

    def mask(self, image: Tensor, rng: Rng) -> Tensor:
        """``(B, 1, H, W)``: 1 where the picture is lost, as in ``Condition.mask``."""
        raise NotImplementedError

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        return image * (1 - self.mask(image, rng))


class Linear(Degradation):
    """A degradation that is linear and not random."""

    def apply(self, image: Tensor) -> Tensor:
        """``A x``."""
        raise NotImplementedError

    def adjoint(self, measured: Tensor) -> Tensor:
        """``A* y``, for ``measured`` of the shape that :meth:`apply` gives."""
        raise NotImplementedError

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        return self.apply(image).clamp(-1, 1)  # a filter with negative weights overshoots at edges


def require_divisible(name: str, width: int, height: int, factor: int) -> None:
    """Refuse a picture whose sides cannot be made ``factor`` times smaller; the nearest size that can is told."""
    if width % factor or height % factor:
        near = "x".join(str(max(1, side // factor) * factor) for side in (width, height))
        raise UsageError(f"{name}: {width}x{height} pixels cannot be divided by {factor} evenly, {near} can")


@dataclass(frozen=True)
class Chain:
    """One degradation after the other; it has ``apply`` and ``adjoint`` where all of them are linear."""

    parts: tuple[Degradation, ...]

    def __call__(self, image: Tensor, rng: Rng) -> Tensor:
        """The images after all parts, from first to last."""
        return self.with_mask(image, rng)[0]

    def target(self, image: Tensor) -> Tensor:
        """What training is to make of the degraded ``image``."""
        for part in self.parts:
            image = part.target(image)
        return image

    @property
    def masks(self) -> bool:
        """Whether a part of it hides a part of the picture."""
        return any(isinstance(part, Masking) for part in self.parts)

    def with_mask(self, image: Tensor, rng: Rng) -> tuple[Tensor, Tensor | None]:
        """The images after all parts, and what is hidden ``(B, 1, H, W)``, or None where nothing is.

        Raises ``UsageError`` where a part changes the size after another hid something.
        """
        hidden: Tensor | None = None
        for part in self.parts:
            if isinstance(part, Masking):
                mask = part.mask(image, rng)
                image = image * (1 - mask)
                hidden = mask if hidden is None else torch.maximum(hidden, mask)
            else:
                image = part(image, rng)
            if hidden is not None and hidden.shape[2:] != image.shape[2:]:
                raise UsageError(f"'{self}': {part} changes the size of what was masked: write it before the mask")
        return image, hidden

    def apply(self, image: Tensor) -> Tensor:
        """``A x``; raises ``Unsupported`` where a part is not linear."""
        for part in self._linear():
            image = part.apply(image)
        return image

    def adjoint(self, measured: Tensor) -> Tensor:
        """``A* y``; raises ``Unsupported`` where a part is not linear."""
        for part in reversed(self._linear()):
            measured = part.adjoint(measured)
        return measured

    def _linear(self) -> list[Linear]:
        odd = [str(part) for part in self.parts if not isinstance(part, Linear)]
        if odd:
            raise Unsupported(f"'{self}' is not linear, because of {', '.join(odd)}: leave that out")
        return [part for part in self.parts if isinstance(part, Linear)]

    def __str__(self) -> str:
        return " | ".join(str(part) for part in self.parts)
