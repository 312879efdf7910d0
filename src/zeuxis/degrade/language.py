"""A line that spells degradations: ``"blur:2 | shrink:4 | noise:0.05"``, applied from left to right.

What is left out has a default: ``"motion"``, ``"motion:15"`` and ``"motion:15,90"`` are all allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from zeuxis.degrade.age import Age, Scratches
from zeuxis.degrade.blind import Blind
from zeuxis.degrade.blind_face import BlindFace
from zeuxis.degrade.blur import BlindBlur, Blur, Defocus, MotionBlur, Smear
from zeuxis.degrade.degradation import Chain, Degradation
from zeuxis.degrade.edges import Edges
from zeuxis.degrade.jpeg import BlindJpeg, Jpeg, SoftJpeg
from zeuxis.degrade.mask import Hole, Mask, Outpaint, Strokes, Uncrop
from zeuxis.degrade.noise import BlindNoise, Grain, Noise, Shot
from zeuxis.degrade.resize import Bicubic, Shrink, Subsample
from zeuxis.degrade.sensor import Sensor
from zeuxis.degrade.tone import Expose, Fade, Film, Grey
from zeuxis.errors import UnknownName, UsageError

_ALL: tuple[type[Degradation], ...] = (
    *(Shrink, Bicubic, Subsample),
    *(Blur, Smear, MotionBlur, Defocus, BlindBlur),
    *(Noise, BlindNoise, Shot, Sensor, Grain),
    *(Jpeg, BlindJpeg, SoftJpeg),
    *(Mask, Hole, Strokes, Outpaint, Uncrop),
    *(Grey, Film, Expose, Fade, Scratches, Age),
    *(Blind, BlindFace, Edges),
)
DEGRADATIONS = {kind.name: kind for kind in _ALL}
READERS: Mapping[str, Callable[[str], int | float | str]] = {"int": int, "float": float, "str": str}


def parse_chain(line: str) -> Chain:
    """The degradations that ``line`` spells.

    Raises:
        UnknownName: a name that is none.
        UsageError: too many values, or one that makes no sense.
    """
    return Chain(tuple(_parse_one(part.strip()) for part in line.split("|")))


def _parse_one(part: str) -> Degradation:
    name, _, rest = part.partition(":")
    if name not in DEGRADATIONS:
        raise UnknownName("degradation", name, DEGRADATIONS)
    kind: Any = DEGRADATIONS[name]  # a dataclass, whose fields say what it takes
    wanted = fields(kind)
    given = [value.strip() for value in rest.split(",")] if rest else []
    if len(given) > len(wanted):
        spelling = name + (":" + ",".join(field.name.upper() for field in wanted) if wanted else "")
        raise UsageError(f"'{part}': write {spelling}")
    values: dict[str, int | float | str] = {}
    for field, text in zip(wanted, given, strict=False):
        try:
            values[field.name] = READERS[str(field.type)](text)
        except ValueError:
            raise UsageError(f"'{part}': {field.name} is '{text}': write a number ({field.type})") from None
    made: Degradation = kind(**values)
    return made
