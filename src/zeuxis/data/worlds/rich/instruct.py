"""Instructions: what to change in a rich scene, in words, and the scene in which it is done.

One of six kinds is drawn: an object is removed, gets another colour or another shape, one is added in an empty
corner, the weather or the season changes, day and night change. All that is not named stays bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

from zeuxis.data.worlds.rich.facts import (
    COLOURS,
    CORNERS,
    EACH,
    HELD_OUT,
    SCENE,
    SEASONS,
    SHAPES,
    SIZES,
    TEXTURES,
    TIMES,
    WEATHERS,
)
from zeuxis.data.worlds.rich.wording import WHERE, Mention, refer, things

EDIT_KINDS = ("remove", "recolour", "reshape", "add", "weather", "season", "time")
DRAWS = 6  # uniform numbers of an instruction
_WEATHER = ("clear", "cloudy", "rain", "snow")


def instruct(row: Sequence[int], u: Sequence[float], kinds: Sequence[str] = EDIT_KINDS) -> tuple[str, list[int]]:
    """An instruction and the factors of the scene in which it was followed, by uniform numbers ``u`` (DRAWS).

    What cannot be asked of a scene (to add where no corner is empty, to remove the only object) is not drawn.
    """
    found = things(row)
    empty = [k for k in range(len(CORNERS)) if not row[SCENE + EACH * k]]
    loose = [thing for thing in found if len(found) > 1 and not _holds(thing, found)]
    able = [kind for kind in kinds if (kind != "add" or empty) and (kind != "remove" or loose)]
    if not able:  # no kind that was asked for fits: whatever the scene, the time can change
        able = ["time"]
    kind = able[_at(u[0], len(able))]
    made = list(row)
    if kind == "remove":
        return _remove(made, loose[_at(u[1], len(loose))], found)
    if kind in ("recolour", "reshape"):
        thing = found[_at(u[1], len(found))]
        values, at = (COLOURS, 1) if kind == "recolour" else (SHAPES, 0)
        return _alter(made, thing, found, values, at, u[2])
    if kind == "add":
        return _add(made, empty[_at(u[1], len(empty))], u[2:])
    if kind == "time":
        made[0] = 1 - row[0]
        return f"make it {TIMES[made[0]]}", made
    if kind == "season":
        made[1] = _next(row[1], len(SEASONS), u[1])
        return f"make it {SEASONS[made[1]]}", made
    made[2] = _next(row[2], len(WEATHERS), u[1])
    return f"make it {_WEATHER[made[2]]}", made


def _remove(made: list[int], thing: Mention, found: Sequence[Mention]) -> tuple[str, list[int]]:
    start = SCENE + EACH * thing.corner
    first, last = (0, 4) if thing.place is None else (4, EACH)
    made[start + first : start + last] = [0] * (last - first)
    return f"remove {refer(thing, found)}", made


def _alter(
    made: list[int], thing: Mention, found: Sequence[Mention], values: Sequence[str], at: int, u: float
) -> tuple[str, list[int]]:
    """Another colour or shape: not a held-out pair of them, nor the colour of what is behind or before it."""
    k = SCENE + EACH * thing.corner + at + (5 if thing.place is not None else 0)
    partners = {o.colour for o in found if o.corner == thing.corner}
    if at:
        barred = partners | {COLOURS[HELD_OUT[SHAPES.index(thing.shape)]]}
    else:
        barred = {thing.shape} | {
            shape for shape, held in zip(SHAPES, HELD_OUT, strict=True) if COLOURS[held] == thing.colour
        }
    free = [value for value in values if value not in barred]
    new = free[_at(u, len(free))]
    made[k] = 1 + values.index(new)
    text = f"make {refer(thing, found)} {new}" if at else f"turn {refer(thing, found)} into a {new}"
    return text, made


def _add(made: list[int], corner: int, u: Sequence[float]) -> tuple[str, list[int]]:
    shape, size = _at(u[0], len(SHAPES)), _at(u[2], len(SIZES))
    colour = [c for c in range(len(COLOURS)) if c != HELD_OUT[shape]][_at(u[1], len(COLOURS) - 1)]
    start = SCENE + EACH * corner
    made[start : start + 4] = [1 + shape, 1 + colour, 1 + size, 1 + TEXTURES.index("plain")]
    return f"add a {SIZES[size]} {COLOURS[colour]} {SHAPES[shape]} {WHERE[corner]}", made


def _holds(thing: Mention, found: Sequence[Mention]) -> bool:
    """Whether something is inside ``thing`` or in front of it: then it would be left in mid-air."""
    return thing.place is None and any(o.place is not None and o.corner == thing.corner for o in found)


def _at(u: float, n: int) -> int:
    return min(int(u * n), n - 1)


def _next(value: int, n: int, u: float) -> int:
    """Another of ``n`` values, each equally likely."""
    return (value + 1 + _at(u, n - 1)) % n
