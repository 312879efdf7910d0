"""Names of files and folders as people mean them: in natural order, and equal in whatever form they are written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

NUMBER = re.compile(r"([0-9]+)")
TAIL = re.compile(r"(?:[ ._-]?(?:masks?|seg|segmentation|labels?|gt|hq|hr|lq|lr|input|target)|x[2-9])$")
NaturalKey = tuple[tuple[int, int, str], ...]


def natural_key(name: str) -> NaturalKey:
    """A key by which 2 comes before 10, and ``photo9`` before ``photo10``; 02 follows 2."""
    parts = NUMBER.split(name)
    return tuple((0, int(part), part) if k % 2 else (1, 0, part) for k, part in enumerate(parts) if part)


def in_natural_order(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once."""
    return tuple(sorted(set(names), key=natural_key))


def composed(name: str) -> str:
    """``name`` with its accents composed (NFC): Macs store them apart."""
    return unicodedata.normalize("NFC", name)


def without_case(name: str) -> str:
    """``name`` as a file system without cases sees it."""
    return composed(composed(name).casefold())


def without_tail(name: str) -> str:
    """``name`` without its case and what says which half of a pair it is: ``0001x4``, ``cell_mask``."""
    return TAIL.sub("", without_case(name))
