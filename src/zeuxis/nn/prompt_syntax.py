"""Marks that other programs' prompts have and that mean nothing here, where a text is read as it is written.

    (word:1.3), ((word)), [[word]]      how much a word counts (AUTOMATIC1111's web UI, ComfyUI)
    [from:to:0.5], [a|b]                words that change as it draws
    <lora:NAME:0.8>, embedding:NAME     files to be used
    BREAK, AND                          texts that are read apart

A tower reads them letter by letter: what they should do is not done, and their letters are drawn from. So it is told.
"""

from __future__ import annotations

import re

LONGEST = 40  # letters of a mark that are shown
FILES = re.compile(r"<(?:lora|lyco|hypernet):[^<>]*>", re.IGNORECASE)
EMBEDDING = re.compile(r"\bembedding:[\w.-]+", re.IGNORECASE)
WEIGHT = re.compile(r"(?<!\\)\([^()]*:\s*[+-]?(?:\d?\.\d+|\d)\s*\)|\(\([^()]+\)\)|\[\[[^\[\]]+\]\]")  # no hour: (10:30)
CHANGES = re.compile(r"\[[^\[\]]*:[^\[\]]*:\s*\d*\.?\d+\s*\]|\[[^\[\]]*:\s*\d?\.\d+\s*\]|\[[^\[\]|]+\|[^\[\]]+\]")
APART = re.compile(r"(?<!\S)(?:BREAK|AND)(?!\S)")


def foreign_marks(text: str) -> tuple[str, ...]:
    """A few words on each kind of mark in ``text``, with the first of the kind."""
    kinds = (
        (FILES, "no file is used by it: leave it out, and give the file (--lora FILE*SCALE)"),
        (EMBEDDING, "no file is used by it: leave it out"),
        (WEIGHT, "it makes no word count more or less: write the words alone"),
        (CHANGES, "no words change while it draws: write those that are wanted"),
        *(((APART, "the text is read as one: leave it out"),) if text != text.upper() else ()),
    )
    found = []
    for pattern, what in kinds:
        if (mark := pattern.search(text)) is not None:
            shown = mark[0] if len(mark[0]) <= LONGEST else f"{mark[0][:LONGEST]}..."
            found.append(f"'{shown}' is read letter by letter, for {what}")
    return tuple(found)
