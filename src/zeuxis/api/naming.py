"""Names of files and folders, and numbers of things, in words."""

from __future__ import annotations

import re


def slug(text: str) -> str:
    """``text`` with everything but letters, digits, ``_``, ``.`` and ``-`` turned into single hyphens."""
    return re.sub(r"(?:-*[^\w.-]+)+-*", "-", text).strip("-")


def counted(n: int, thing: str) -> str:
    """``1 iteration``, ``2,000 iterations``."""
    return f"{n:,} {thing}{'s' * (n != 1)}"
