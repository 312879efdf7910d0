"""Questions about a scene that only one of several captions answers: all alike, but for one thing that they state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from zeuxis.data.worlds import grammar
from zeuxis.data.worlds.grammar import Facts

Asked = tuple[str, tuple[str, ...]]
"""What is asked, and captions of which the first is the true one."""


def scenes(caption: str) -> list[Asked]:
    """About a scene with a complete caption: the time, and each object's size, colour and shape, and the relation.

    Where the objects are alike, a caption that means the same as the true one is left out.
    """
    facts = grammar.parse(caption)
    truth = grammar.factors_of(facts)
    found = []
    for name, others in _changed(facts):
        wrong = [other for other in others if grammar.factors_of(other) != truth]
        found.append((name, tuple(map(grammar.sentence, [facts, *wrong]))))
    return found


def _changed(facts: Facts) -> Iterator[tuple[str, list[Facts]]]:
    """The facts with one of them replaced by every other value."""
    yield "time", [replace(facts, time=time) for time in grammar.TIMES]
    for which in ("first", "second"):
        thing = getattr(facts, which)
        if thing is not None:
            for key, values in (("size", grammar.SIZES), ("colour", grammar.COLOURS), ("shape", grammar.SHAPES)):
                yield key, [replace(facts, **{which: replace(thing, **{key: value})}) for value in values]
    if facts.relation is not None:
        yield "relation", [replace(facts, relation=relation) for relation in grammar.RELATIONS]


QUESTIONS: Mapping[str, Callable[[str], list[Asked]]] = {"scenes": scenes}
"""The worlds whose captions are understood so."""
