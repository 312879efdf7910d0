"""Marks of other programs' prompts in a text that a CLIP tower reads: those that are obeyed, and those that are not.

Obeyed, by AUTOMATIC1111's web UI's rules, where :data:`PromptWeights` says so:

    (word:1.3)          the word counts 1.3 times
    (word), [word]      1.1 times, and 1 / 1.1 times; the marks may hold one another, and their factors multiply
    \\(, \\), \\[, \\], \\\\    the letter itself

A weight has one digit before the point, so that (by 10:30) is none; a bracket that is not closed reaches to the end.
Not obeyed, and told:

    [from:to:0.5], [a|b]                words that change as it draws
    <lora:NAME:0.8>, embedding:NAME     files to be used
    BREAK, AND                          texts that are read apart

A tower reads these letter by letter: what they should do is not done, and their letters are drawn from.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

PromptWeights = Literal["numbered", "all", "none"]  # of texts with a number in a mark, of all texts, of none
USUAL: PromptWeights = "numbered"  # where nobody says how a text is to be read
LONGEST = 40  # letters of a mark that are shown
MORE = 1.1  # by how much a bracket without a number has its words count
FILES = re.compile(r"<(?:lora|lyco|hypernet):[^<>]*>", re.IGNORECASE)
EMBEDDING = re.compile(r"\bembedding:[\w.-]+", re.IGNORECASE)
NUMBER = r"[+-]?(?:\d?\.\d+|\d\.?)"  # no hour: (10:30)
DOUBLED = re.compile(r"(?<!\\)\(\([^()]+\)\)|(?<!\\)\[\[[^\[\]]+\]\]")
ESCAPED = re.compile(r"\\[()\[\]]")
CHANGES = re.compile(r"\[[^\[\]]*:[^\[\]]*:\s*\d*\.?\d+\s*\]|\[[^\[\]]*:\s*\d?\.\d+\s*\]|\[[^\[\]|]+\|[^\[\]]+\]")
APART = re.compile(r"(?<!\S)(?:BREAK|AND)(?!\S)")
_PIECES = re.compile(
    rf"(?P<whole>{CHANGES.pattern}|{FILES.pattern})|\\(?P<escaped>[()\[\]\\])|:\s*(?P<number>{NUMBER})\s*\)|"
    r"(?P<mark>[()\[\]])|[^\\()\[\]:<]+|.",
    re.DOTALL | re.IGNORECASE,
)


class Weighed(NamedTuple):
    """A part of a text, and how much it counts."""

    text: str
    weight: float


def weighed(text: str, reading: PromptWeights) -> tuple[Weighed, ...]:
    """The parts of ``text`` that count alike, at least one; where it is read as it is written, that is all of it."""
    if reading == "none" or (reading == "numbered" and not _numbered(text)):
        return (Weighed(text, 1.0),)
    parts: list[Weighed] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}  # the first part of each bracket that is not closed yet
    for piece in _PIECES.finditer(text):
        mark, number, escaped = piece["mark"], piece["number"], piece["escaped"]
        if mark in opened:
            opened[mark].append(len(parts))
        elif (number is not None or mark == ")") and opened["("]:
            _times(parts, opened["("].pop(), MORE if number is None else float(number))
        elif mark == "]" and opened["["]:
            _times(parts, opened["["].pop(), 1 / MORE)
        else:
            parts.append(Weighed(escaped or piece[0], 1.0))
    for factor, first in [*((MORE, k) for k in opened["("]), *((1 / MORE, k) for k in opened["["])]:
        _times(parts, first, factor)
    return tuple(_joined(parts)) or (Weighed("", 1.0),)


def _times(parts: list[Weighed], first: int, factor: float) -> None:
    parts[first:] = [Weighed(text, weight * factor) for text, weight in parts[first:]]


def _joined(parts: list[Weighed]) -> list[Weighed]:
    """Neighbours of one weight as one part, so that no word is cut where nothing changes."""
    found: list[Weighed] = []
    for part in parts:
        if found and found[-1].weight == part.weight:
            part = Weighed(found.pop().text + part.text, part.weight)
        found.append(part)
    return found


def _numbered(text: str) -> str | None:
    """The first mark of ``text`` whose weight is a number, if there is one: a ratio (16:9) is none."""
    opened: list[int] = []
    for piece in _PIECES.finditer(text):
        if piece["mark"] == "(":
            opened.append(piece.start())
        elif piece["number"] is not None and opened:
            first = opened.pop()
            if "." in piece["number"] or not text[: piece.start()].rstrip().endswith(tuple("0123456789")):
                return text[first : piece.end()]
        elif piece["mark"] == ")" and opened:
            opened.pop()
    return None


def told_marks(text: str, reading: PromptWeights | None = None) -> tuple[str, ...]:
    """A few words on each kind of mark in ``text`` that is not obeyed, with the first of the kind; and on one that is
    where nobody asked for it: without a ``reading`` it is :data:`USUAL`."""
    obeyed = _numbered(text) if reading in (None, "numbered") else None
    found = []
    if obeyed is not None and reading is None:
        found.append(
            f"'{_shown(obeyed)}' is read as a weight of its words, and so are further brackets: "
            "--knob prompt_weights=none reads them all letter by letter"
        )
    kinds = [
        (FILES, "no file is used by it: leave it out, and give the file (--lora FILE*SCALE)"),
        (EMBEDDING, "no file is used by it: write its name alone, and give the file (--embedding FILE)"),
        (CHANGES, "no words change while it draws: write those that are wanted"),
        *(((APART, "the text is read as one: leave it out"),) if text != text.upper() else ()),
    ]
    if obeyed is None and reading in (None, "numbered"):
        why = "no bracket has a number, as (word:1.2) has: --knob prompt_weights=all "
        kinds[2:2] = [(DOUBLED, f"{why}makes weights of them all"), (ESCAPED, f"{why}makes a plain bracket of it")]
    for pattern, what in kinds:
        if (mark := pattern.search(text)) is not None:
            found.append(f"'{_shown(mark[0])}' is read letter by letter, for {what}")
    return tuple(found)


def _shown(mark: str) -> str:
    return mark if len(mark) <= LONGEST else f"{mark[:LONGEST]}..."
