"""The steps that latents come to be by: what a record of a latent tool holds, and is made again from.

A step draws a latent from a seed, holds one as it is (a picture that was encoded, a direction), or makes one of earlier
ones: between two, mixed of two by layers, moved along a direction, crossed of two.
"""

from __future__ import annotations

import base64
import binascii
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from zeuxis.api.given import again
from zeuxis.api.model import Model
from zeuxis.editing.breeding import crossed
from zeuxis.editing.paths import PATHS, PathName, between
from zeuxis.editing.space import DecodedSpace
from zeuxis.editing.styles import mixed
from zeuxis.errors import DataError, Unsupported
from zeuxis.knobs import Sampling, Value
from zeuxis.rng import Stream

MOST_HELD = 1 << 17  # numbers of a latent that a record holds


class EarlierSteps(Protocol):
    """What a step is made from: a model, and what earlier steps made, by their places."""

    model: Model

    @property
    def space(self) -> DecodedSpace:
        """The space that the model's latents lie in."""

    def value(self, place: int) -> Tensor:
        """What the step at ``place`` made."""

    def latent(self, place: int) -> Tensor:
        """The same as a latent of this model's space."""


@dataclass(frozen=True)
class Step(ABC):
    """One step; ``made_of`` are the places of the earlier ones that it needs."""

    name: ClassVar[str]
    made_of: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def make(self, known: EarlierSteps) -> Tensor:
        """The latent."""

    @property
    def parents(self) -> tuple[int, ...]:
        return tuple(getattr(self, field) for field in self.made_of)

    def at(self, places: Sequence[int] | Mapping[int, int]) -> Step:
        """The same step where what it is made of has other ``places``."""
        return replace(self, **{field: places[getattr(self, field)] for field in self.made_of})

    def plain(self) -> dict[str, Any]:
        """As a record has it."""
        return {"step": self.name, **{f.name: _plain(getattr(self, f.name)) for f in fields(self)}}


@dataclass(frozen=True)
class Drawn(Step):
    """What the model draws from ``seed`` under ``condition``, with its knobs at ``sampling``."""

    name: ClassVar[str] = "drawn"
    seed: int
    sampling: Mapping[str, Value]
    condition: Mapping[str, Any]

    def make(self, known: EarlierSteps) -> Tensor:
        model = known.model
        condition = model.condition(1, **again(self.condition, model.spec, model.name, {}))
        return model.draw_latents(condition, [self.seed], Sampling(**self.sampling))[0]


@dataclass(frozen=True)
class Held(Step):
    """Numbers as they are; ``origin`` says where they are from."""

    name: ClassVar[str] = "held"
    shape: tuple[int, ...]
    numbers: str  # little-endian float32, base64
    origin: Mapping[str, Any]

    @classmethod
    def of(cls, latent: Tensor, origin: Mapping[str, Any]) -> Held:
        kept = latent.detach().cpu().float().contiguous()
        if kept.numel() > MOST_HELD:
            raise Unsupported(
                f"a latent of {kept.numel():,} numbers is more than a record holds ({MOST_HELD:,}): use a model "
                "with smaller latents"
            )
        numbers = base64.b64encode(kept.numpy().astype("<f4").tobytes()).decode("ascii")
        return cls(tuple(kept.shape), numbers, dict(origin))

    def make(self, known: EarlierSteps) -> Tensor:
        try:
            raw = base64.b64decode(self.numbers, validate=True)
            found = torch.from_numpy(np.frombuffer(raw, "<f4").astype(np.float32).reshape(self.shape))
        except (binascii.Error, ValueError) as error:
            raise DataError(f"this record is damaged: the numbers of a latent cannot be read ({error})") from None
        if not found.isfinite().all():
            raise DataError("this record is damaged: a latent holds numbers that are not finite")
        return found


@dataclass(frozen=True)
class Between(Step):
    """The point at ``t`` of the way from ``first`` to ``second``."""

    name: ClassVar[str] = "between"
    made_of: ClassVar[tuple[str, ...]] = ("first", "second")
    first: int
    second: int
    path: PathName
    t: float

    def make(self, known: EarlierSteps) -> Tensor:
        a, b = known.latent(self.first), known.latent(self.second)
        return between(a, b, self.t, self.path, known.space.told)


@dataclass(frozen=True)
class MixedLayers(Step):
    """The style codes of ``first``, in the layers from ``start`` to before ``stop`` those of ``second``."""

    name: ClassVar[str] = "mixed"
    made_of: ClassVar[tuple[str, ...]] = ("first", "second")
    first: int
    second: int
    start: int
    stop: int

    def make(self, known: EarlierSteps) -> Tensor:
        known.space.must_have_styles()
        return mixed(known.latent(self.first), known.latent(self.second), range(self.start, self.stop))


@dataclass(frozen=True)
class Moved(Step):
    """``first``, moved by ``strength`` times the direction ``along``; of style codes in some layers alone."""

    name: ClassVar[str] = "moved"
    made_of: ClassVar[tuple[str, ...]] = ("first", "along")
    first: int
    along: int
    strength: float
    start: int = 0
    stop: int = 0  # 0: all layers

    def make(self, known: EarlierSteps) -> Tensor:
        latent = known.latent(self.first)
        step = self.strength * known.space.check(known.value(self.along), "the direction")
        if self.stop:
            known.space.must_have_styles()
            step = mixed(torch.zeros_like(latent), step, range(self.start, self.stop))
        return latent + step


@dataclass(frozen=True)
class Crossed(Step):
    """A child of ``first`` and ``second``: who gives what is drawn from ``seed``."""

    name: ClassVar[str] = "crossed"
    made_of: ClassVar[tuple[str, ...]] = ("first", "second")
    first: int
    second: int
    seed: int

    def make(self, known: EarlierSteps) -> Tensor:
        a, b = known.latent(self.first), known.latent(self.second)
        return crossed(a, b, known.space, Stream(self.seed, "cross"))


STEPS: Mapping[str, type[Step]] = {step.name: step for step in (Drawn, Held, Between, MixedLayers, Moved, Crossed)}


def lineage(steps: Sequence[Step], place: int) -> list[int]:
    """The places of all steps that led to the one at ``place``, and its own, in order."""
    found, ahead = {place}, [place]
    while ahead:
        for parent in steps[ahead.pop()].parents:
            if parent not in found:
                found.add(parent)
                ahead.append(parent)
    return sorted(found)


# -- records ------------------------------------------------------------------------------------------


def read_step(plain: Any, place: int) -> Step:
    """A step from its record; DataError for anything that :meth:`Step.plain` cannot have written."""
    try:
        kind = STEPS[plain["step"]]
        values = {f.name: plain[f.name] for f in fields(kind)}
    except (KeyError, TypeError):
        raise DataError(f"this record is damaged: its step {place} is none that this version knows") from None
    for field in kind.made_of:
        if type(values[field]) is not int or not 0 <= values[field] < place:
            raise DataError(f"this record is damaged: step {place} is made of one that does not come before it")
    for name, value in values.items():
        if name in kind.made_of:
            continue
        if not CHECKS[name](value):
            raise DataError(f"this record is damaged: the {name} of step {place} is {str(value)[:60]!r}")
    if kind is Held:
        values["shape"] = tuple(values["shape"])
    return kind(**values)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


CHECKS: Mapping[str, Any] = {  # by field of a step
    "seed": lambda v: type(v) is int and v >= 0,  # of any size, as pictures are drawn from them
    "sampling": lambda v: isinstance(v, dict),
    "condition": lambda v: isinstance(v, dict),
    "shape": lambda v: isinstance(v, list) and all(map(_whole, v)) and math.prod(v) <= MOST_HELD,
    "numbers": lambda v: isinstance(v, str) and len(v) <= 8 * MOST_HELD,
    "origin": lambda v: isinstance(v, dict),
    "path": lambda v: isinstance(v, str) and v in PATHS,
    "t": _number,
    "strength": _number,
    "start": _whole,
    "stop": _whole,
}


def _plain(value: Any) -> Any:
    match value:
        case tuple():
            return list(value)
        case Mapping():
            return dict(value)
        case _:
            return value
