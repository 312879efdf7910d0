"""What data say of themselves: the facts that networks are built for, and that a model's card keeps.

One frozen :class:`DataSpec` for every source and every trained model. A constructor gets those of
:meth:`DataSpec.facts` that it names; a new fact is one field here. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple


class Shape(NamedTuple):
    """The shape of one image: channels, rows, columns."""

    channels: int
    height: int
    width: int


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

    def facts(self) -> dict[str, Any]:
        """Everything that a constructor may name, by keyword."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"classes": self.classes}

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it: lists for tuples, sorted for sets."""
        return {**asdict(self), "provides": sorted(self.provides)}

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
