"""What a scene holds: its facts, the captions that state them, and the factors by which it is judged.

A complete caption is one of

    a SIZE COLOUR SHAPE WHEN
    a SIZE COLOUR SHAPE RELATION a SIZE COLOUR SHAPE WHEN

with WHEN one of "by day", "at night". A size or the time may be left out: then any will do.
Two captions may describe one scene ("A above B", "B below A"); the factors are the same for both, because
there object 1 is always the upper or the left one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from zeuxis.errors import UsageError

TIMES = ("day", "night")
SIZES = ("small", "large")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
SHAPES = ("circle", "square", "triangle", "star", "ring")
RELATIONS = ("above", "left", "below", "right")  # the first two name object 1 first, the others object 2

VALUES: dict[str, tuple[str, ...]] = {
    "time": TIMES,
    "relation": ("none", "above", "left of"),
    "size_1": SIZES,
    "colour_1": COLOURS,
    "shape_1": SHAPES,
    "size_2": ("none", *SIZES),
    "colour_2": ("none", *COLOURS),
    "shape_2": ("none", *SHAPES),
}
"""What each value of each factor means."""

FACTORS: tuple[tuple[str, int], ...] = tuple((name, len(values)) for name, values in VALUES.items())
"""The name and the number of values of each factor."""

UNSPECIFIED = -1
"""The value of a factor that a caption leaves open."""

_WHEN = {"day": "by day", "night": "at night"}
_WHERE = {"above": "above", "below": "below", "left": "left of", "right": "right of"}
WORDS: tuple[str, ...] = tuple(
    sorted({"a", "an", "of", *SIZES, *COLOURS, *SHAPES, *RELATIONS, *" ".join(_WHEN.values()).split()})
)
"""Every word of captions."""
_IGNORED = frozenset({"a", "an", "the", "to", "is", "at", "by", "of"})  # they carry no fact


@dataclass(frozen=True, slots=True)
class Thing:
    """One object; ``size`` None leaves it open."""

    colour: str
    shape: str
    size: str | None = None

    def __str__(self) -> str:
        words = [self.size, self.colour, self.shape] if self.size else [self.colour, self.shape]
        return f"{'an' if words[0] == 'orange' else 'a'} {' '.join(words)}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a caption states. ``relation`` (one of ``RELATIONS``) is where ``first`` stands, seen from ``second``."""

    first: Thing
    relation: str | None = None
    second: Thing | None = None
    time: str | None = None

    def __post_init__(self) -> None:
        if (self.relation is None) != (self.second is None):
            raise UsageError("a scene has a relation exactly if it has two objects: give both or neither")

    @property
    def swapped(self) -> bool:
        """Whether ``first`` is the lower or right one: object 2 of the factors."""
        return self.relation in RELATIONS[2:]


def sentence(facts: Facts, *, sizes: bool = True, time: bool = True) -> str:
    """The caption of ``facts``, without the sizes or the time if so asked; :func:`parse` is its inverse."""

    def phrase(thing: Thing) -> str:
        return str(thing if sizes else replace(thing, size=None))

    parts = [phrase(facts.first)]
    if facts.relation is not None and facts.second is not None:
        parts += [_WHERE[facts.relation], phrase(facts.second)]
    if time and facts.time is not None:
        parts.append(_WHEN[facts.time])
    return " ".join(parts)


def parse(caption: str) -> Facts:
    """The facts that ``caption`` states. Case, punctuation and articles do not matter.

    Raises :class:`UsageError` for a word outside the vocabulary (naming the nearest known ones) and
    for a caption that is not of the grammar above.
    """
    words = [w for w in re.findall(r"[^\W_]+", caption.lower()) if w not in _IGNORED]
    for word in words:
        if word not in WORDS:
            raise UsageError(f"caption '{caption}': unknown word '{word}': {_suggest(word)}")
    times = [w for w in words if w in TIMES]
    if len(times) > 1:
        raise UsageError(f"caption '{caption}': say the time once: 'by day' or 'at night'")
    if times and words[-1] not in TIMES and words[0] not in TIMES:
        raise UsageError(f"caption '{caption}': '{times[0]}' belongs at the end: 'by day' or 'at night'")
    time = times[0] if times else None
    rest = [w for w in words if w not in TIMES]
    relations = [i for i, w in enumerate(rest) if w in RELATIONS]
    if len(relations) > 1:
        raise UsageError(f"caption '{caption}': one relation at most, of {', '.join(_WHERE.values())}")
    if not relations:
        return Facts(_thing(rest, caption), time=time)
    at = relations[0]
    return Facts(_thing(rest[:at], caption), rest[at], _thing(rest[at + 1 :], caption), time)


def _thing(words: Sequence[str], caption: str) -> Thing:
    """The one object that ``words`` name, in the order size, colour, shape."""
    size = words[0] if words and words[0] in SIZES else None
    match list(words[size is not None :]):
        case [colour, shape] if colour in COLOURS and shape in SHAPES:
            return Thing(colour, shape, size)
    problem = f"'{' '.join(words)}' is not an object" if words else "an object is missing"
    raise UsageError(f"caption '{caption}': {problem}: say '[small|large] COLOUR SHAPE', as in 'small red circle'")


def _suggest(word: str) -> str:
    near = difflib.get_close_matches(word, WORDS, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"known words: {', '.join(WORDS)}"


def factors_of(facts: Facts) -> tuple[int, ...]:
    """The values of ``FACTORS`` under ``facts``; ``UNSPECIFIED`` for what they leave open."""
    one, two = facts.first, facts.second
    if facts.swapped and two is not None:
        one, two = two, one
    relation = 0 if facts.relation is None else 1 + RELATIONS.index(facts.relation) % 2
    time = UNSPECIFIED if facts.time is None else TIMES.index(facts.time)
    upper = (_size(one), COLOURS.index(one.colour), SHAPES.index(one.shape))
    if two is None:
        return (time, relation, *upper, 0, 0, 0)
    size_2 = UNSPECIFIED if two.size is None else 1 + SIZES.index(two.size)
    return (time, relation, *upper, size_2, 1 + COLOURS.index(two.colour), 1 + SHAPES.index(two.shape))


def _size(thing: Thing) -> int:
    return UNSPECIFIED if thing.size is None else SIZES.index(thing.size)


def factors(caption: str) -> tuple[int, ...]:
    """The values of ``FACTORS`` that ``caption`` states; ``UNSPECIFIED`` for what it leaves open."""
    return factors_of(parse(caption))


def facts_from(values: Sequence[int], swapped: bool = False) -> Facts:
    """The facts of complete factor ``values``, naming object 2 first if ``swapped``."""
    time, relation, size_1, colour_1, shape_1, size_2, colour_2, shape_2 = values
    one = Thing(COLOURS[colour_1], SHAPES[shape_1], SIZES[size_1])
    if relation == 0:
        return Facts(one, time=TIMES[time])
    two = Thing(COLOURS[colour_2 - 1], SHAPES[shape_2 - 1], SIZES[size_2 - 1])
    if swapped:
        return Facts(two, RELATIONS[relation + 1], one, TIMES[time])
    return Facts(one, RELATIONS[relation - 1], two, TIMES[time])
