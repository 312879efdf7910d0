"""What the words of a caption are. Imports no torch."""

from __future__ import annotations

import re
import unicodedata

WORD = re.compile(r"\w+(?:[-']\w+)*")


def in_lower_case(text: str) -> str:
    """``text`` in lower case, its accents composed (NFC): Macs store them apart."""
    return unicodedata.normalize("NFC", text.lower())


def words_of(text: str) -> list[str]:
    """The words of ``text`` in order, :func:`in_lower_case`.

    Punctuation is left out; a hyphen or apostrophe within a word is kept.
    """
    return WORD.findall(in_lower_case(text))
