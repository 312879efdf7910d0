"""Captions that users give to models of a world, brought to the phrasings that the world itself uses.

A model has learnt those and no others: what it makes of another wording, though every word is known to it, is chance.
A model that was trained on captions of its user's is not meant: its vocabulary is another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zeuxis.data.worlds import grammar
from zeuxis.spec import DataSpec

Reader = Callable[[str], str]
"""A caption in the world's own phrasing; raises :class:`zeuxis.errors.UsageError` with the nearest that there is."""

READERS: Mapping[frozenset[str], Reader] = {frozenset(grammar.WORDS): grammar.canonical}
"""How the captions of a world are read, by the vocabulary that it is known by."""


def reader(spec: DataSpec) -> Reader | None:
    """How captions are read for a model whose data are those of ``spec``; None where they are taken as they are."""
    return READERS.get(frozenset(spec.words))
