"""Python files read as text, by one thread at a time.

The parser of Python 3.11 counts the depth of the trees that it builds in one place for all threads, and raises a
SystemError ("recursion depth mismatch") where two build at once, as the service's first requests do.
"""

from __future__ import annotations

import ast
import threading

_PARSING = threading.Lock()


def parsed(text: str | bytes, filename: str) -> ast.Module:
    """The tree of a file's text; raises as :func:`ast.parse`."""
    with _PARSING:
        return ast.parse(text, filename=filename)
