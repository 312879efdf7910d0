"""What a model can do with a picture that it is given, from its card alone: what it obeys, how it edits, what it draws.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from zeuxis.card import Card
from zeuxis.conditions import FIELDS, PICTURE_KINDS

DRAWN = ("layout", "control", "source")  # fields that a hand can draw, the most exact first
CHANNELS = (1, 3)  # of one picture; more are several pictures in one


@dataclass(frozen=True)
class EditMethod:
    """A way to change a picture: the ``fields`` that are given as pictures, and what a model must have for it.

    It is a ``job`` of kind ``sample``, where the model obeys those fields; or of kind ``edit`` (``zeuxis edit``), a
    procedure upon what the model can do.
    """

    name: str
    title: str
    about: str
    fields: tuple[str, ...]
    knobs: tuple[str, ...] = ()
    other: tuple[str, ...] = ()  # fields that are told beside, without which it means nothing
    verbs: tuple[str, ...] = ("sample",)
    job: Literal["sample", "edit"] = "sample"


NOISED = "The picture is put under noise, and drawn from there (SDEdit): the more strength, the more is new."
MARKED = "What the mask marks is made; the rest stays as it is."
METHODS = (
    EditMethod("vary", "From the picture under noise", NOISED, ("source",), ("strength",)),
    EditMethod("inpaint", "A part made again", MARKED, ("source", "mask")),
    EditMethod("vary", "From the picture under noise", NOISED, ("source",), ("sampler",), (), ("denoiser",), "edit"),
    EditMethod("inpaint", "A part made again", MARKED, ("source", "mask"), ("sampler",), (), ("denoiser",), "edit"),
    EditMethod("instruct", "By an instruction", "The picture changes as it is told.",
               ("source",), (), ("instruction",)),
    EditMethod("control", "After edges, depth or a pose", "A picture that has the outlines of the one that is given.",
               ("control",)),
    EditMethod("layout", "After a layout", "A picture of the layout: a class for every pixel.", ("layout",)),
    EditMethod("translate", "Made into another", "The picture as the model has learnt to turn such ones.", ("source",)),
)  # fmt: skip


def obeyed(
    card: Card, config: Mapping[str, Any], classes: int, parts: Sequence[Set[str]] = ()
) -> tuple[frozenset[str], frozenset[str]]:
    """The fields that a model obeys as it was built, and those of them that it cannot do without.

    Args:
        card: of its system.
        config: the constructor's arguments; ``condition`` chooses among what the card accepts.
        classes: how many labels there are.
        parts: what each of the trained systems obeys that it was given, a base or a teacher: that it obeys too.
    """
    told = config.get("condition")
    chosen = set(card.accepts)
    if isinstance(told, str) or parts:
        chosen &= {told}
    if "mask" in chosen:  # says which part of a source is to be made
        chosen |= {"source"} & card.accepts
    required = card.needs | (chosen if isinstance(told, str) else frozenset())
    chosen |= {name for part in parts for name in part} & card.accepts
    if not classes:
        chosen.discard("label")
    return frozenset(card.needs | chosen), frozenset(required)


def edits_of(verbs: Set[str], obeys: Set[str], required: Set[str], knobs: Set[str]) -> list[EditMethod]:
    """The ways in which a model can change a picture."""
    shown = {name for name in required if FIELDS[name].kind in PICTURE_KINDS}

    def fits(method: EditMethod) -> bool:
        if not (verbs >= {*method.verbs} and knobs >= {*method.knobs} and obeys >= {*method.other}):
            return False
        if method.job == "edit":
            return not obeys & {*DRAWN, "mask"}  # given pictures by itself, it edits in its own way
        return obeys >= {*method.fields} and shown <= {*method.fields}

    found = [method for method in METHODS if fits(method)]
    told = any(method.knobs or method.other for method in found)
    return [method for method in found if method.name != "translate" or not told]  # the others say more


def drawn_field(
    verbs: Set[str], obeys: Set[str], required: Set[str], channels: int | None, painted: bool
) -> str | None:
    """The field that a drawing is for a model; None where none is, or it is given other pictures besides.

    ``channels`` are those of its source; None where that is not known, as of generators. ``painted`` says that its
    sources are layouts drawn as pictures, so that what is drawn is a layout (``zeuxis paint``).
    """
    if "sample" not in verbs or channels is None:
        return None
    if painted or {"layout", "source"} <= required:
        return "layout"
    for name in DRAWN:
        others = {other for other in required - {name} if FIELDS[other].kind in PICTURE_KINDS}
        if name in obeys and not others and (name != "source" or channels in CHANNELS):
            return name
    return None
