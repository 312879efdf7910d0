"""The settings of the public network files of the style-based generators, and what is found in them.

A file is read without the program that wrote it (see the package ``unpickle``): what is left of its objects are
settings, here asked for by name. What they say is believed as far as tensors bear it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.errors import WeightsError
from zeuxis.spec import MOST_SIDE

READ = "read are ProGAN, StyleGAN, StyleGAN2, StyleGAN2-ADA and StyleGAN3, T and R"
LARGEST = 1 << 24  # of any number among settings: products of two are still sizes


@dataclass(frozen=True)
class StyleFile:
    """What a network file holds: a system, its arguments, and the public tensors by the PyTorch program's names."""

    system: str
    shape: Shape
    classes: int
    arguments: Mapping[str, Any]
    public: Mapping[str, Tensor]  # "G." or "D." before the names
    renamed: bool = False  # whether those are ours already
    absent: tuple[str, ...] = ()  # beginnings of the names of our tensors that the file leaves out
    dropped: tuple[str, ...] = ()  # tensors of the file that no system here takes
    made: tuple[str, ...] = ()  # names in `public` of what is not in the file and follows from what is


@dataclass(frozen=True)
class Piece:
    """A network or a layer in a file, as its settings tell it."""

    state: Mapping[str, Any]
    what: str  # where it is, for messages

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The keywords that it was built with."""
        found = self.state.get("_init_kwargs")
        return found if isinstance(found, dict) else {}

    @property
    def parts(self) -> Mapping[str, Any]:
        """Its layers, as they were told."""
        found = self.state.get("_modules")
        return found if isinstance(found, dict) else {}

    def child(self, name: str) -> Piece:
        """A layer of it. Raises :class:`WeightsError` where there is none."""
        found = piece_of(self.parts.get(name), f"{self.what}.{name}")
        if found is None:
            raise WeightsError(f"{self.what} has no part called {name}: {READ}")
        return found

    def number(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number among its settings.

        Raises :class:`WeightsError` where there is none, or one below ``least`` or above :data:`LARGEST`.
        """
        found = self.state.get(name, self.arguments.get(name, default))
        if type(found) is not int:
            raise WeightsError(f"{self.what} does not tell its {name}: {READ}")
        if not least <= found <= LARGEST:
            raise WeightsError(f"{self.what} is said to have {name} = {found}, and {least} to {LARGEST} are read")
        return found

    def side(self, name: str, default: int | None = None) -> int:
        """The height and width of its pictures. Raises :class:`WeightsError` where they are no size of a picture."""
        found = self.number(name, default)
        if not 4 < found <= MOST_SIDE:
            raise WeightsError(f"{self.what} is said to draw {found} pixels a side: {READ}, up to {MOST_SIDE}")
        return found

    @property
    def clamp(self) -> float | None:
        """Its ``conv_clamp``, where it has one. Raises :class:`WeightsError` where that is no bound."""
        found = self.arguments.get("conv_clamp")
        if found is not None and not (type(found) in (int, float) and found > 0):
            raise WeightsError(f"{self.what} is cut off at {str(found)[:60]}, which is no bound: {READ}")
        return found

    def told(self, name: str, default: Any) -> Any:
        """One of its settings, ``default`` where it is not told."""
        return self.state.get(name, self.arguments.get(name, default))

    def must_be(self, **wanted: Any) -> None:
        """Raise :class:`WeightsError` for a setting that is told and is another."""
        for name, value in wanted.items():
            found = self.told(name, value)
            if found != value:
                raise WeightsError(f"{self.what} was built with {name} = {str(found)[:60]}, and {value} alone is read")


def piece_of(facts: Any, what: str) -> Piece | None:
    """What :mod:`zeuxis.pretrained.unpickle` told of an object, if it is one with settings."""
    if not isinstance(facts, dict) or not isinstance(facts.get("object"), str):
        return None
    states = [part for part in facts.get("parts", ()) if isinstance(part, dict)]
    return Piece(states[-1], what) if states else None


def renamed(tensors: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    """Those that begin with one of ``prefixes``, with another."""
    return {
        now + key.removeprefix(was): value
        for was, now in prefixes.items()
        for key, value in tensors.items()
        if key.startswith(was)
    }


def must_know(public: Mapping[str, Tensor], width: int, classes: int) -> None:
    """Raise :class:`WeightsError` unless the table of the generator is of ``classes``, to codes of ``width`` numbers.

    It is asked before a name is made for each of them: so many numbers are there.
    """
    table = public.get("G.mapping.embed.weight")
    if (None if table is None else tuple(table.shape)) != ((width, classes) if classes else None):
        raise WeightsError(f"G_ema is said to know {classes} classes, and its tensors know others: it is damaged")


def without(value: Tensor, axes: int, name: str) -> Tensor:
    """A tensor without its first ``axes``, each of one. Raises :class:`WeightsError` where they are not."""
    if value.ndim < axes or any(side != 1 for side in value.shape[:axes]):
        raise WeightsError(f"{name} is of shape {tuple(value.shape)}, whose first {axes} are not 1: {READ}")
    return value.reshape(value.shape[axes:])
