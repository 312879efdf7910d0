"""Captions that fill slots, each once and in any order: how those of people are read, and what is missing is said."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from zeuxis.errors import UsageError

Slots = Mapping[str, Sequence[str]]
"""Of each slot its name and its values, each of one word or of several."""


def words_of(caption: str, ignored: Iterable[str]) -> list[str]:
    """The words of ``caption`` in lower case, without those ``ignored``."""
    passed = frozenset(ignored)
    return [word for word in re.findall(r"[^\W_]+", caption.lower()) if word not in passed]


def filled(words: Sequence[str], slots: Slots) -> dict[str, str]:
    """The value of every slot that ``words`` name.

    Raises :class:`UsageError` for a word that is none of the slots', and for two values of one.
    """
    values = {tuple(value.split()): (name, value) for name, choice in slots.items() for value in choice}
    found: dict[str, str] = {}
    at = 0
    while at < len(words):
        longest = next((n for n in (3, 2, 1) if tuple(words[at : at + n]) in values), 0)
        if not longest:
            raise UsageError(f"unknown word '{words[at]}'{_meant(words[at], slots)}")
        name, value = values[tuple(words[at : at + longest])]
        if found.setdefault(name, value) != value:
            raise UsageError(f"'{found[name]}' and '{value}' are two of one kind ({name}): say one")
        at += longest
    return found


def require(found: Mapping[str, str], slots: Slots) -> None:
    """Raise :class:`UsageError` for a slot that is not filled."""
    for name, choice in slots.items():
        if name not in found:
            raise UsageError(f"its {name} is missing: say one of {', '.join(choice)}")


def guessed(words: Sequence[str], slots: Slots) -> dict[str, str]:
    """A value for every slot: the first that ``words``, perhaps spelt wrong, come near; else the slot's first."""
    known = {word for choice in slots.values() for value in choice for word in value.split()}
    near = " ".join(part for word in words for part in difflib.get_close_matches(word, sorted(known), 1))
    found = {}
    for name, choice in slots.items():
        spelt = [value for value in sorted(choice, key=len, reverse=True) if re.search(rf"\b{value}\b", near)]
        found[name] = spelt[0] if spelt else choice[0]
    return found


def refused(caption: str, error: UsageError, nearest: str) -> UsageError:
    """What to raise for ``caption``."""
    return UsageError(f"caption '{caption}': {error}; the nearest that is understood: '{nearest}'")


def _meant(word: str, slots: Slots) -> str:
    known = sorted({part for choice in slots.values() for value in choice for part in value.split()})
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    return f": did you mean {' or '.join(near)}?" if near else f": known words: {', '.join(known)}"
