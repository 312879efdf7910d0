"""Output of the commands: results on stdout, all the rest on stderr."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import typer


def emit(value: Any) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(plain(value), ensure_ascii=False, indent=1, allow_nan=False))


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
    """One line for the person at the terminal, on stdout."""
    typer.echo(text)


def note(text: str) -> None:
    """One line beside the result, on stderr."""
    typer.echo(text, err=True)


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table on stdout; its last column takes what room is left."""
    from rich.console import Console
    from rich.table import Table

    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for k, column in enumerate(columns):
        made.add_column(column, overflow="fold", no_wrap=k == 0)
    for row in rows:
        made.add_row(*row)
    Console(soft_wrap=False, markup=False).print(made)


def duration(seconds: float) -> str:
    """``75`` as ``1:15``."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
