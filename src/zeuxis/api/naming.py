"""Names of files and folders."""

from __future__ import annotations

import re


def slug(text: str) -> str:
    """``text`` with everything but letters, digits, ``_``, ``.`` and ``-`` turned into single hyphens."""
    return re.sub(r"(?:-*[^\w.-]+)+-*", "-", text).strip("-")
