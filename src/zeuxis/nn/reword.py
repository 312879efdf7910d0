"""Captions that are almost right: what a model of words without order, or of the loudest word alone, cannot tell apart.

Yuksekgonul et al. 2022, "When and why vision-language models behave like bags-of-words" (arXiv:2210.01936). They
exchange words of the same part of speech; here words are alike that stand between the same neighbours in captions, so
that what comes out reads like a caption: one that does not would be told by its words alone, without the picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from zeuxis.rng import Rng

Words = tuple[str, ...]
Neighbours = tuple[str, str]  # the word before and the word after; "" at the ends
LONGEST = 2  # words that are replaced at once, and that replace them


class _Change(NamedTuple):
    """The words from ``begin`` to ``end`` and what stands there instead."""

    begin: int
    end: int
    new: Words


def reworded(captions: Sequence[str], rng: Rng, each: int = 1) -> list[tuple[str, ...]]:
    """For every caption ``each`` that are almost right; none where nothing can be changed.

    Two of its words are exchanged, or one or two are replaced by one or two that other captions have between the same
    neighbours ("above" by "left of"). Words are not merely left out or added, for that may be true as well.
    """
    split = [tuple(caption.split()) for caption in captions]
    fits: defaultdict[Neighbours, set[Words]] = defaultdict(set)
    for said in split:
        for begin, end in _spans(said):
            fits[_neighbours(said, begin, end)].add(said[begin:end])
    ordered = {key: sorted(words) for key, words in fits.items()}  # a seed gives the same whatever sets are like
    found = []
    for said, draws in zip(split, rng.uniform(len(split), each, 3).tolist(), strict=True):
        exchanges, places = list(_exchanges(said, fits)), list(_places(said, ordered))
        made = []
        for coin, which, what in draws:
            if exchanges and (coin < 0.5 or not places):
                made.append(_changed(said, exchanges[int(which * len(exchanges))]))
            elif places:
                choices = places[int(which * len(places))]
                made.append(_changed(said, choices[int(what * len(choices)) :][:1]))
        found.append(tuple(made))
    return found


def _spans(said: Words) -> Iterator[tuple[int, int]]:
    """Where one to :data:`LONGEST` words begin and end."""
    for begin in range(len(said)):
        for end in range(begin + 1, min(begin + LONGEST, len(said)) + 1):
            yield begin, end


def _neighbours(said: Words, begin: int, end: int) -> Neighbours:
    return said[begin - 1] if begin else "", said[end] if end < len(said) else ""


def _exchanges(said: Words, fits: Mapping[Neighbours, set[Words]]) -> Iterator[tuple[_Change, _Change]]:
    """Each pair of words of which either may stand where the other does."""
    at = [_neighbours(said, k, k + 1) for k in range(len(said))]
    for k, second in enumerate(said):
        for j, first in enumerate(said[:k]):
            if first != second and (second,) in fits[at[j]] and (first,) in fits[at[k]]:
                yield _Change(j, j + 1, (second,)), _Change(k, k + 1, (first,))


def _places(said: Words, fits: Mapping[Neighbours, list[Words]]) -> Iterator[list[_Change]]:
    """For each place where something else may stand, all that may; two words only where none of them alone may change.

    So each change is of one thing: the hardest to see.
    """
    alone: set[int] = set()  # words that have been offered
    for begin, end in sorted(_spans(said), key=lambda span: span[1] - span[0]):
        old = said[begin:end]
        single = len(old) == 1
        news = [
            new
            for new in fits[_neighbours(said, begin, end)]
            if not set(new) & set(old) and (single or len(new) == 1 or not alone & {begin, end - 1})
        ]
        if news:
            yield [_Change(begin, end, new) for new in news]
            if single:
                alone.add(begin)


def _changed(said: Words, changes: Sequence[_Change]) -> str:
    made = list(said)
    for change in reversed(changes):  # from the end, so that what is before keeps its place
        made[change.begin : change.end] = change.new
    return " ".join(made)
