"""Rich scenes in words: captions in several phrasings, the scene graph, and names that can mean one thing only.

A caption is a body and a setting. The body names every object with its size, texture, colour and shape, and says
where it stands, by corners ("at the upper left") or, where that is enough, by relations ("left of", "above").
The setting names weather, season and time, before the body or after it. Words have synonyms. ``caption`` draws
phrasing and synonyms from uniform numbers, so a scene has the same caption on every run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zeuxis.data.worlds.rich.facts import (
    COLOURS,
    CORNERS,
    EACH,
    PLACES,
    SCENE,
    SEASONS,
    SHAPES,
    SIZES,
    TEXTURES,
    TIMES,
    WEATHERS,
)

SYNONYMS: dict[str, tuple[str, ...]] = {
    "small": ("small", "little"),
    "large": ("large", "big"),
    "purple": ("purple", "violet"),
    "circle": ("circle", "disc"),
    "ring": ("ring", "hoop"),
    "diamond": ("diamond", "rhombus"),
    "moon": ("moon", "crescent"),
    "striped": ("striped", "banded"),
    "dotted": ("dotted", "spotted"),
    "shiny": ("shiny", "polished"),
    "autumn": ("autumn", "fall"),
    "clear": ("clear", "cloudless"),
    "cloudy": ("cloudy", "overcast"),
}
"""What may stand for a word; the first is the plain one."""

RELATIONS = ("left of", "right of", "above", "below", *PLACES)
_ASIDE = {(0, 1): "left of", (1, 0): "right of", (2, 3): "left of", (3, 2): "right of"}
_UPRIGHT = {(0, 2): "above", (1, 3): "above", (2, 0): "below", (3, 1): "below"}
BESIDE: dict[tuple[int, int], str] = _ASIDE | _UPRIGHT
"""How one corner stands to another; corners across the diagonal are in no plain relation."""
WHERE = tuple(f"at the {corner}" for corner in CORNERS)
DRAWS = 2 + 4 * 4 + 8  # uniform numbers that a caption takes: see caption()


@dataclass(frozen=True, slots=True)
class Mention:
    """One object: the main one of its corner, or the second."""

    corner: int
    shape: str
    colour: str
    size: str
    texture: str
    place: str | None = None  # of PLACES, for a second object

    @property
    def number(self) -> int:
        """As in ``paint.instances``."""
        return 1 + self.corner + 4 * (self.place is not None)


def things(row: Sequence[int]) -> list[Mention]:
    """The objects of one row of factors, in reading order; a second object follows its main one."""
    found = []
    for k in range(len(CORNERS)):
        shape, colour, size, texture, place, inner, tint = row[SCENE + EACH * k : SCENE + EACH * (k + 1)]
        if shape:
            found.append(Mention(k, SHAPES[shape - 1], COLOURS[colour - 1], SIZES[size - 1], TEXTURES[texture - 1]))
        if place:
            found.append(Mention(k, SHAPES[inner - 1], COLOURS[tint - 1], "small", "plain", PLACES[place - 1]))
    return found


def graph(row: Sequence[int]) -> list[tuple[int, str, int]]:
    """The scene graph: every true (subject, relation, object), objects by their :attr:`Mention.number`."""
    found = things(row)
    edges = []
    for a in found:
        for b in found:
            if a.place is None and b.place is None and (a.corner, b.corner) in BESIDE:
                edges.append((a.number, BESIDE[a.corner, b.corner], b.number))
            if a.place is not None and b.number == 1 + a.corner:
                edges.append((a.number, a.place, b.number))
    return edges


def refer(thing: Mention, among: Sequence[Mention]) -> str:
    """The shortest name, with its article, that fits ``thing`` and nothing else of ``among``.

    Shape, then colour, then size and texture, then what it stands beside, then its corner.
    """
    texture = "" if thing.texture == "plain" else thing.texture
    for words in (
        (thing.shape,),
        (thing.colour, thing.shape),
        (thing.size, thing.colour, thing.shape),
        (texture, thing.colour, thing.shape),
        (thing.size, texture, thing.colour, thing.shape),
    ):
        chosen = {word for word in words if word}
        if sum(chosen <= _words(other) for other in among) == 1:
            return f"the {' '.join(word for word in words if word)}"
    alike = [o for o in among if (o.colour, o.shape) == (thing.colour, thing.shape)]
    name = f"the {thing.colour} {thing.shape}"
    for other in among:
        relation = _relation(thing, other)
        unique = sum(o.shape == other.shape for o in among) == 1
        if relation and unique and sum(_relation(o, other) == relation for o in alike) == 1:
            return f"{name} {relation} the {other.shape}"
    return f"{name} {thing.place + ' the object ' if thing.place else ''}{WHERE[thing.corner]}"


def caption(row: Sequence[int], u: Sequence[float], brief: bool = False) -> str:
    """A caption of one row of factors, phrased by uniform numbers ``u`` (DRAWS of them); all factors are in it.

    With ``brief`` textures and setting are left out, as people do.
    """
    draws = iter(u)
    style, front = next(draws), next(draws) < 0.3
    found = things(row)
    mains = [thing for thing in found if thing.place is None]
    seconds = {thing.corner: thing for thing in found if thing.place is not None}

    def full(thing: Mention) -> str:
        texture = "" if thing.texture == "plain" or brief else thing.texture
        size = thing.size if thing.place is None else ""
        phrase = " ".join(_synonym(word, draws) for word in (size, texture, thing.colour, thing.shape) if word)
        if thing.place is None and thing.corner in seconds:
            inner = seconds[thing.corner]
            phrase += f" with {full(inner)} {'inside' if inner.place == PLACES[0] else 'in front'}"
        return f"{'an' if phrase[0] in 'aeio' else 'a'} {phrase}"

    beside = len(mains) == 2 and (mains[0].corner, mains[1].corner) in BESIDE
    if beside and style < 0.75:
        pair = mains if style < 0.375 else mains[::-1]
        relation = BESIDE[pair[0].corner, pair[1].corner]
        edge = _EDGE[pair[0].corner, pair[1].corner]
        body = f"{full(pair[0])} {relation} {full(pair[1])}, {edge}"
    else:
        parts = [f"{full(thing)} {WHERE[thing.corner]}" for thing in mains]
        body = _and(parts)
        if style > 0.85:
            body = f"there {'is' if len(mains) == 1 else 'are'} {body}"
    if brief:
        return body
    setting = _setting(row, draws)
    return f"{setting}, {body}" if front else f"{body}, {setting}"


_EDGE = {
    **{pair: "at the top" if max(pair) < 2 else "at the bottom" for pair in _ASIDE},
    **{pair: "on the left" if max(pair) == 2 else "on the right" for pair in _UPRIGHT},
}


def words() -> tuple[str, ...]:
    """Every word of captions and instructions."""
    plain = [*TIMES, *SEASONS, *WEATHERS, *SHAPES, *COLOURS, *SIZES, *TEXTURES, *CORNERS, *RELATIONS, *WHERE]
    plain += [word for choice in SYNONYMS.values() for word in choice]
    plain += ["a an the and with there is are on in by at inside front top bottom left right day night sky"]
    plain += ["remove turn into make it add object of plain rain snow"]
    return tuple(sorted({word for text in plain for word in text.split()}))


def _setting(row: Sequence[int], draws: Iterator[float]) -> str:
    """Weather, season and time, in one of two phrasings."""
    time, season, weather = TIMES[row[0]], SEASONS[row[1]], WEATHERS[row[2]]
    weather, season = _synonym(weather, draws), _synonym(season, draws)
    if next(draws) < 0.5:
        return f"on {'an' if weather[0] in 'aeio' else 'a'} {weather} {season} {time}"
    return f"{'by day' if time == 'day' else 'at night'} in {weather} {season}"


def _synonym(word: str, draws: Iterator[float]) -> str:
    choice = SYNONYMS.get(word, (word,))
    if len(choice) == 1:
        return word
    return choice[int(next(draws) >= 0.7)]  # the plain word is the commoner one


def _words(thing: Mention) -> set[str]:
    return {thing.shape, thing.colour, thing.size, thing.texture}


def _relation(a: Mention, b: Mention) -> str | None:
    """How ``a`` stands to ``b``, if in a plain relation."""
    if a.place is not None:
        return a.place if b.number == 1 + a.corner else None
    return BESIDE.get((a.corner, b.corner)) if b.place is None else None


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
