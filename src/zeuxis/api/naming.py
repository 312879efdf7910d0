"""Names of files and folders, and numbers of things, in words."""

from __future__ import annotations

import re


def slug(text: str) -> str:
    """``text`` with everything but letters, digits, ``_``, ``.`` and ``-`` turned into single hyphens."""
    return re.sub(r"[^\w.]+", _hyphen, text).strip("-")


def _hyphen(other: re.Match[str]) -> str:
    """What stands for characters of no name and the hyphens among them; hyphens alone stay as they are.

    A pattern that told the two apart by itself would look at a long row of hyphens from each of them on.
    """
    return other[0] if other[0].count("-") == len(other[0]) else "-"


def counted(n: int, thing: str) -> str:
    """``1 iteration``, ``2,000 iterations``."""
    return f"{n:,} {thing}{'s' * (n != 1)}"
