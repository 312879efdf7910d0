"""What a scene holds: its facts, the captions that state them, and the factors by which it is judged.

A complete caption is one of

    a SIZE COLOUR SHAPE WHEN
    a SIZE COLOUR SHAPE RELATION a SIZE COLOUR SHAPE WHEN

with WHEN one of "by day", "at night". A size or the time may be left out: then any will do. People may also say the
time first, turn the sentence round ("above a blue square is a red circle") and add words that state nothing.
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
_IGNORED = frozenset({  # words that state nothing
    "a", "an", "the", "this", "that", "which", "it", "there", "here", "s",
    "is", "are", "to", "at", "by", "of", "on", "in", "during",
    "side", "time", "picture", "image", "scene",
})  # fmt: skip


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


@dataclass(frozen=True, slots=True)
class Telling:
    """What of a scene a caption states: the sizes of the first and the second object, the time, and where that."""

    first_size: bool = True
    second_size: bool = True
    time: bool = True
    front: bool = False  # the time before the objects


WHOLE = Telling()


def sentence(facts: Facts, telling: Telling = WHOLE) -> str:
    """The caption of ``facts``, with what ``telling`` states of them; :func:`parse` is its inverse."""
    parts = [_phrase(facts.first, telling.first_size)]
    if facts.relation is not None and facts.second is not None:
        parts += [_WHERE[facts.relation], _phrase(facts.second, telling.second_size)]
    if telling.time and facts.time is not None:
        parts.insert(0 if telling.front else len(parts), _WHEN[facts.time])
    return " ".join(parts)


def _phrase(thing: Thing, size: bool) -> str:
    return str(thing if size else replace(thing, size=None))


def parse(caption: str) -> Facts:
    """The facts that ``caption`` states. Case, punctuation and words that state nothing do not matter.

    Raises :class:`UsageError` for a caption that is not of the grammar above, saying why, with the nearest that is.
    """
    words = _words(caption)
    try:
        return _facts(words)
    except UsageError as error:
        raise UsageError(f"caption '{caption}': {error}; the nearest that is understood: '{_nearest(words)}'") from None


def canonical(caption: str) -> str:
    """``caption`` as the captions of the world are phrased: "blue circle" is "a blue circle". Raises as :func:`parse`.

    Their sizes are all stated or none is. Of two objects of which one has a size the other one gets the same.
    """
    facts = parse(caption)
    if facts.second is not None:
        first, second = facts.first, facts.second
        size = first.size or second.size
        facts = replace(
            facts, first=replace(first, size=first.size or size), second=replace(second, size=second.size or size)
        )
    return sentence(facts)


def _words(caption: str) -> list[str]:
    return [w for w in re.findall(r"[^\W_]+", caption.lower()) if w not in _IGNORED]


def _facts(words: Sequence[str]) -> Facts:
    for word in words:
        if word not in WORDS:
            raise UsageError(f"unknown word '{word}': {_suggest(word)}")
    times = [i for i, word in enumerate(words) if word in TIMES]
    if len(times) > 1:
        raise UsageError("say the time once: 'by day' or 'at night'")
    for i in times:
        if 0 < i < len(words) - 1 and not {words[i - 1], words[i + 1]} & {*RELATIONS}:
            raise UsageError(f"'{words[i]}' belongs at the end: 'by day' or 'at night'")
    time = words[times[0]] if times else None
    rest = [word for word in words if word not in TIMES]
    relations = [i for i, word in enumerate(rest) if word in RELATIONS]
    if len(relations) > 1:
        raise UsageError(f"one relation at most, of {', '.join(_WHERE.values())}")
    if not relations:
        return Facts(_thing(rest), time=time)
    at = relations[0]
    before, after = rest[:at], rest[at + 1 :]
    shapes = [i for i, word in enumerate(after) if word in SHAPES]
    if not before and len(shapes) == 2:  # turned round: "above B is A"
        before, after = after[shapes[0] + 1 :], after[: shapes[0] + 1]
    return Facts(_thing(before), rest[at], _thing(after), time)


def _nearest(words: Sequence[str]) -> str:
    """The caption that keeps most of ``words``, spelt right, with what is missing filled in."""
    close = [(difflib.get_close_matches(word, WORDS, n=1, cutoff=0.6) or [""])[0] for word in words]
    time = next((word for word in close if word in TIMES), None)
    rest = [word for word in close if word in {*SIZES, *COLOURS, *SHAPES, *RELATIONS}]
    relation = next((word for word in rest if word in RELATIONS), None)
    shapes = [i for i, word in enumerate(rest) if word in SHAPES]
    if relation is None and len(shapes) < 2:
        return sentence(Facts(_completed(rest, Thing("red", "circle")), time=time))
    at = rest.index(relation) if relation else shapes[0] + 1
    first, second = _completed(rest[:at], Thing("red", "circle")), _completed(rest[at:], Thing("blue", "square"))
    return sentence(Facts(first, relation or "above", second, time))


def _completed(words: Sequence[str], missing: Thing) -> Thing:
    """The object of the first size, colour and shape among ``words``, or what is ``missing`` of them."""
    return Thing(
        next((word for word in words if word in COLOURS), missing.colour),
        next((word for word in words if word in SHAPES), missing.shape),
        next((word for word in words if word in SIZES), None),
    )


def _thing(words: Sequence[str]) -> Thing:
    """The one object that ``words`` name, in the order size, colour, shape."""
    size = words[0] if words and words[0] in SIZES else None
    match list(words[size is not None :]):
        case [colour, shape] if colour in COLOURS and shape in SHAPES:
            return Thing(colour, shape, size)
    problem = f"'{' '.join(words)}' is not an object" if words else "an object is missing"
    raise UsageError(f"{problem}: say '[small|large] COLOUR SHAPE', as in 'small red circle'")


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
