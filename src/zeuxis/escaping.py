"""Text from files, names and exceptions, safe to print and to write: escapes in place of what a terminal would obey.

Control codes (an ESC begins the commands of a terminal: colours, titles, the clipboard), marks that turn the direction
of writing, breaks of lines, and halves of surrogate pairs, which stand for bytes of file names that are no UTF-8.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from typing import Any

_UNSAFE = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
_OBEYED = re.compile(f"[\x00-\x1f{_UNSAFE}]")
_NOT_ESCAPED = re.compile(f"[{_UNSAFE}]")  # of those, what JSON leaves as it is


def printable(text: str) -> str:
    """``text`` in one line that a terminal shows and does not obey: ``\\x1b[31m`` in place of a colour."""
    return _OBEYED.sub(_escape, text)


def to_stderr(line: str) -> None:
    """``line`` on stderr, printable; nowhere, where a program has none (one without a console)."""
    if sys.stderr is not None:
        sys.stderr.write(f"{printable(line)}\n")


def word(of: object) -> str:
    """A path or a name as one word of a shell, for commands that are advised: quoted where it holds a blank."""
    return shlex.quote(str(of))


def json_text(value: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """JSON in which nothing is obeyed by a terminal and all of it is UTF-8; it reads back as just ``value``.

    Raises ValueError for a number that is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent, sort_keys=sort_keys, allow_nan=False)
    return _NOT_ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(found: re.Match[str]) -> str:
    known = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    code = ord(found[0])
    return known.get(found[0], f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
