"""The facts of data: what networks are built for, and what a model's card keeps.

One frozen :class:`DataSpec` for every source and every trained model. A constructor gets those of
:meth:`DataSpec.facts` that it names; a new fact is one field here. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple

from zeuxis.errors import UsageError

Size = int | tuple[int, int]
"""The size that pictures are wanted at: the side of a square, or height and width."""


LEAST_SIDE, MOST_SIDE = 4, 4096  # pixels
Augmentation = Literal["flips", "turns", "channels"]  # how training pictures are varied (zeuxis.data.augmented)


def height_width(size: Size) -> tuple[int, int]:
    """Rows and columns of a size."""
    return (size, size) if isinstance(size, int) else size


def spell_size(size: Size | None) -> str:
    """A size as people write it: ``32``, width times height as in ``32x24``, or ``natural`` where none is asked for."""
    match size:
        case None:
            return "natural"
        case int():
            return str(size)
        case height, width:
            return f"{width}x{height}"


def parse_size(text: str | None) -> Size | None:
    """The size that :func:`spell_size` spells; None for None. Raises :class:`UsageError` for anything else."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip().lower())
    if found is None:
        raise UsageError(f"--size {text} is no size: write pixels a side (32), or width x height (32x24)")
    width, height = int(found[1]), int(found[2] or found[1])
    if not in_bounds(size := width if width == height else (height, width)):
        raise UsageError(f"--size {text}: pictures may have from {LEAST_SIDE} to {MOST_SIDE} pixels a side")
    return size


def in_bounds(size: Size) -> bool:
    """Whether pictures may have that size."""
    return all(LEAST_SIDE <= side <= MOST_SIDE for side in height_width(size))


class Shape(NamedTuple):
    """The shape of one image: channels, rows, columns."""

    channels: int
    height: int
    width: int

    def at(self, height: int, width: int) -> Shape:
        """The same channels on other rows and columns."""
        return Shape(self.channels, height, width)


@dataclass(frozen=True)
class DataSpec:
    """The facts of a dataset, a folder or a world.

    ``class_names`` are those of ``Condition.label`` and ``layout_names`` those of ``Condition.layout``, empty where
    there is none; ``words`` the vocabulary of captions and instructions; ``factors`` the name and the number of
    values of each column of ``Condition.factors``; ``provides`` the fields of ``Condition`` that a batch carries.
    ``frames`` are the pictures in time that lie one after another in the channels. Names found here are shown,
    never imported or opened.
    """

    shape: Shape
    source_shape: Shape | None = None  # of Condition.source
    frames: int = 1
    class_names: tuple[str, ...] = ()
    layout_names: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    factors: tuple[tuple[str, int], ...] = ()
    provides: frozenset[str] = frozenset()

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return len(self.class_names)

    @property
    def size(self) -> Size:
        """Of the pictures, as `zeuxis.data.library.open_source` takes it."""
        _, height, width = self.shape
        return height if height == width else (height, width)

    def at(self, size: Size) -> DataSpec:
        """The same facts of pictures, and of their sources, at another size."""
        height, width = height_width(size)
        source = None if self.source_shape is None else self.source_shape.at(height, width)
        return replace(self, shape=self.shape.at(height, width), source_shape=source)

    def facts(self) -> dict[str, Any]:
        """Everything that a constructor may name, by keyword."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"classes": self.classes}

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it: lists for tuples, sorted for sets."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def of_arguments(cls, arguments: Mapping[str, Any]) -> DataSpec:
        """What a constructor's ``arguments`` (of the names in :meth:`facts`, and others) state of the data.

        Names that only their number is known of are "0", "1", ...; what the data provides is not known.
        """
        known = {f.name: arguments[f.name] for f in fields(cls) if f.name in arguments}
        named = known.get("class_names") or map(str, range(arguments.get("classes") or 0))
        return cls.from_dict({**known, "class_names": named})

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> DataSpec:
        """What :meth:`as_dict` wrote; a TypeError, KeyError or ValueError for anything else."""
        source = table.get("source_shape")
        return cls(
            shape=Shape(*table["shape"]),
            source_shape=None if source is None else Shape(*source),
            frames=int(table.get("frames", 1)),
            class_names=tuple(map(str, table.get("class_names", ()))),
            layout_names=tuple(map(str, table.get("layout_names", ()))),
            words=tuple(map(str, table.get("words", ()))),
            factors=tuple((str(name), int(values)) for name, values in table.get("factors", ())),
            provides=frozenset(map(str, table.get("provides", ()))),
        )


def _plain(value: Any) -> Any:
    match value:
        case frozenset():
            return sorted(value)
        case tuple():
            return [_plain(part) for part in value]
        case _:
            return value
