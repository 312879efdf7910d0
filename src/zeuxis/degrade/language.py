"""A line that spells degradations: ``"blur:2 | shrink:4 | noise:0.05"``, applied from left to right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from zeuxis.degrade.degradation import Chain, Degradation
from zeuxis.degrade.linear import Blur, Grey, Mask, Shrink
from zeuxis.degrade.random import Hole, Noise
from zeuxis.errors import UnknownName, UsageError

KINDS = {kind.name: kind for kind in (Grey, Shrink, Blur, Mask, Noise, Hole)}
NUMBERS: Mapping[str, Callable[[str], int | float]] = {"int": int, "float": float}


def parse(line: str) -> Chain:
    """The degradations that ``line`` spells.

    Raises:
        UnknownName: a name that is none.
        UsageError: too few or too many numbers, or one that makes no sense.
    """
    return Chain(tuple(_parse_one(part.strip()) for part in line.split("|")))


def _parse_one(part: str) -> Degradation:
    name, _, rest = part.partition(":")
    if name not in KINDS:
        raise UnknownName("degradation", name, KINDS)
    kind: Any = KINDS[name]  # a dataclass of numbers, whose fields say what it takes
    wanted = fields(kind)
    given = [value.strip() for value in rest.split(",")] if rest else []
    if len(given) != len(wanted):
        spelling = name + (":" + ",".join(field.name.upper() for field in wanted) if wanted else "")
        raise UsageError(f"'{part}': write {spelling}")
    values: dict[str, int | float] = {}
    for field, text in zip(wanted, given, strict=True):
        try:
            values[field.name] = NUMBERS[str(field.type)](text)
        except ValueError:
            raise UsageError(f"'{part}': {field.name} is '{text}': write a number ({field.type})") from None
    made: Degradation = kind(**values)
    return made
