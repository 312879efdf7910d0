"""What is said of pictures beside them, read in one way wherever it lies: captions, and objects of JSON.

Texts are UTF-8, with or without the mark that some editors put first, or UTF-16 with one. None is cut: what is longer
than a caption is none.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zeuxis.files import open_regular

MOST_TEXT = 1 << 16  # bytes of a caption, or of an object that holds one
WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decoded(data: bytes) -> str:
    """The text in ``data``; raises ValueError, in words, where there is none."""
    wide = data.startswith(WIDE)
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("broken UTF-16" if wide else "not UTF-8") from None


def caption_of(data: bytes) -> str:
    """The caption that a file or a member holds; ValueError as :func:`decoded`, and where it is too long."""
    if len(data) > MOST_TEXT:
        raise ValueError(f"longer than the {MOST_TEXT:,} bytes of a caption")
    return decoded(data).strip()


def read_caption(path: Path) -> str:
    """The caption in the file at ``path``; OSError and ValueError where there is none to be had."""
    with open_regular(path) as file:
        return caption_of(file.read(MOST_TEXT + 1))


def object_in(text: str) -> Mapping[str, Any]:
    """The object of JSON in ``text``; ValueError, in words, where there is none."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(found, Mapping):
        raise ValueError("no object")
    return found


def first_text(value: Any) -> str | None:
    """A caption that JSON holds, or of a list of captions the first, as of a dataset of the hub; None for all else."""
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        value = value[0]
    return value if isinstance(value, str) else None


def whole(caption: str) -> str:
    """``caption``, if every character of it is whole: JSON can spell halves, which no file can hold."""
    if any("\ud800" <= letter <= "\udfff" for letter in caption):
        raise ValueError("its text holds half a character (a lone surrogate)")
    return caption
