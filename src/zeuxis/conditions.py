"""What steers a picture: the one table of the fields of :class:`zeuxis.batch.Condition`. Imports no torch.

Everything that is done with a field is done by its kind: batching in :mod:`zeuxis.batch`, arrays of data in
:mod:`zeuxis.data.source`, what a user gives, records and replay in :mod:`zeuxis.api.given`. The options of the
command line and the keywords of ``Model.sample`` come from this table. A new field is one line here and one in
``Condition``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

FieldKind = Literal["class", "text", "picture", "mask", "class map", "factors"]
PICTURE_KINDS: frozenset[FieldKind] = frozenset({"picture", "mask", "class map"})  # given as pictures


@dataclass(frozen=True)
class Field:
    """One field: its name, what kind of value it holds, what it means, and how it is given on the command line.

    ``like`` says which shape of :class:`zeuxis.spec.DataSpec` a picture of this field has.
    """

    name: str
    kind: FieldKind
    meaning: str
    metavar: str
    like: Literal["shape", "source_shape"] = "shape"

    @property
    def option(self) -> str:
        """The option of the command line."""
        return f"--{self.name}"


FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        field.name: field
        for field in (
            Field("label", "class", "A class, by number or name.", "CLASS"),
            Field("caption", "text", "What to draw.", "TEXT"),
            Field("negative", "text", "What not to draw, which guidance leads away from.", "TEXT"),
            Field(
                "source", "picture", "The picture to translate, restore or edit; several in its channels: A,B or a "
                "folder.", "PICTURE", like="source_shape",
            ),
            Field("mask", "mask", "What is to be made: where this is light or transparent.", "PICTURE"),
            Field("control", "picture", "The edges, depth or pose that a ControlNet follows.", "PICTURE"),
            Field("layout", "class map", "A class for every pixel: grey values or palette indices.", "PNG"),
            Field("style", "picture", "The picture whose manner is wanted.", "PICTURE"),
            Field("instruction", "text", "What to change in the source.", "TEXT"),
            Field("factors", "factors", "A world's factors, by name.", "NAME=VALUE,..."),
        )
    }
)  # fmt: skip
