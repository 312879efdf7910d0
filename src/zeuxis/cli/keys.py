"""How ``zeuxis info`` shows the keys of a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from zeuxis.cli.output import say, say_lines
from zeuxis.escaping import printable

if TYPE_CHECKING:
    from zeuxis.catalog.schema import Key, Section
    from zeuxis.recipe import Recipe

CHANGED = "*"  # marks a value that is not the default
WIDEST = {"value": 18, "default": 15}  # columns at 80 characters: what is longer goes on below


def as_data(sections: Iterable[Section]) -> dict[str, dict[str, Any]]:
    """Every key by its dotted name: value, default, whether they differ, meaning; ready for JSON."""
    return {key.name: key.as_dict() for section in sections for key in section.keys}


def show_recipe(recipe: Recipe) -> None:
    """Every key of a recipe, table by table."""
    from zeuxis.catalog.schema import sections

    found = sections(recipe)
    say(f"recipe {recipe.name}: every key, as --set takes it; {CHANGED} differs from its default")
    show_sections(found)


def show_sections(sections: Iterable[Section]) -> None:
    """Tables of key, value, default and meaning, in columns that stand below one another."""
    from rich.console import Console
    from rich.table import Table

    shown = list(sections)
    keys = [key for section in shown for key in section.keys]
    console = Console(soft_wrap=False, markup=False, emoji=False, highlight=False)
    texts = zip(*map(_texts, keys), strict=True) if keys else ((), ())
    widths = {
        title: min(max(map(len, (title, *column))), widest * max(console.width, 80) // 80)
        for (title, widest), column in zip(WIDEST.items(), texts, strict=True)
    }
    for section in shown:
        say_lines("", *([f"[{section.name}]  {section.note}".rstrip()] if section.name else []))
        if not section.keys:
            continue
        table = Table(
            box=None, pad_edge=False, padding=(0, 1), header_style="bold", expand=True, show_header=section is shown[0]
        )
        table.add_column("", width=1)
        table.add_column("key", width=max(len(_last(key)) for key in keys), no_wrap=True)
        for title, width in widths.items():
            table.add_column(title, width=width, overflow="fold")
        table.add_column("meaning", ratio=1)
        for key in section.keys:
            table.add_row(CHANGED if key.changed else "", _last(key), *_texts(key), printable(key.meaning))
        console.print(table)


def _last(key: Key) -> str:
    return printable(key.name.rpartition(".")[2])


def _texts(key: Key) -> tuple[str, str]:
    """Value and default, as a recipe has them."""
    from zeuxis.catalog.schema import toml

    value = "missing" if key.required and key.value is None else toml(key.value)
    return printable(value), "required" if key.required else printable(toml(key.default))
