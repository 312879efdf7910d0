"""Output of the commands: results on stdout, all the rest on stderr.

What is printed may come from a record, a card, a file's name or an exception, and so from anyone: every function here
escapes what a terminal would obey (:mod:`zeuxis.escaping`), and no command prints by other means.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import typer

from zeuxis.escaping import json_text, printable

GAP = 2  # characters between columns


def emit(value: Any) -> None:
    """Print one JSON document on stdout; what a terminal would obey is escaped as JSON has it."""
    found = plain(value)
    text = json_text(found, indent=1)
    if text != _encodable(text, sys.stdout.encoding):  # a terminal of few characters
        text = json.dumps(found, indent=1)
    typer.echo(text)


def plain(value: Any) -> Any:
    """``value`` as JSON has it: no paths, sets or dataclasses, and null for what is not a finite number."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Path():
            return str(value)
        case Mapping():
            return {str(k): plain(v) for k, v in value.items()}
        case set() | frozenset():
            return sorted(map(plain, value))
        case list() | tuple():
            return [plain(v) for v in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return plain(asdict(value))
        case _:
            raise TypeError(f"a {type(value).__name__} has no JSON form here")


def say(text: str) -> None:
    """One line for the person at the terminal, on stdout; a break within it is shown as ``\\n``."""
    typer.echo(_shown(text))


def say_lines(*lines: str) -> None:
    """Several lines on stdout, each escaped by itself."""
    for line in lines:
        say(line)


def note(text: str) -> None:
    """One line beside the result, on stderr; a break within it is shown as ``\\n``."""
    typer.echo(_encodable(printable(text), sys.stderr.encoding), err=True)


def _shown(text: str) -> str:
    return _encodable(printable(text), sys.stdout.encoding)


def _encodable(text: str, encoding: str | None) -> str:
    """``text`` with escapes in place of characters that ``encoding`` lacks."""
    name = encoding or "utf-8"
    return text.encode(name, "backslashreplace").decode(name)


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table on stdout; its last column takes what room is left."""
    from rich.console import Console
    from rich.table import Table

    made = Table(title=_shown(title) or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for k, column in enumerate(columns):
        made.add_column(_shown(column), overflow="fold", no_wrap=k == 0)
    for row in rows:
        made.add_row(*map(_shown, row))
    Console(soft_wrap=False, markup=False, emoji=False).print(made)


def figures(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table whose cells are not broken: where it is wider than the terminal, its columns follow in further tables,
    each of which begins with the first column."""
    from rich.console import Console

    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    parts: list[list[int]] = [[]]
    for k, width in enumerate(widths[1:], 1):
        taken = widths[0] + sum(GAP + widths[other] for other in parts[-1])
        if parts[-1] and taken + GAP + width > Console().width:
            parts.append([])
        parts[-1].append(k)
    for part in parts:
        table(title, [columns[k] for k in (0, *part)], [[row[k] for k in (0, *part)] for row in rows])


def own_file(model: str, what: str, suffix: str = ".png") -> Path:
    """A file of its own for the result of one command, ``samples/NAME-WHAT.png`` or the next name that is free."""
    name = Path(model).resolve().name if Path(model).exists() else model
    first = Path("samples") / f"{name}-{what}{suffix}"
    others = (first.with_name(f"{name}-{what}-{k}{suffix}") for k in count(2))
    return next(path for path in chain([first], others) if not path.exists() and not path.with_suffix(".png").exists())


def duration(seconds: float) -> str:
    """``75`` as ``1:15``."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
