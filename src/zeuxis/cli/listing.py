"""``zeuxis list``: every system there is. Imports no torch."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from zeuxis.cli.options import Json
from zeuxis.cli.output import emit, note, say_lines

KIND_MARKS = {True: "S", False: "G"}  # a system that learns; a generator, which does not


def list_systems(as_json: Json = False) -> None:
    """List every method: what it can do, its recipes, and whether their claims were met."""
    from zeuxis.catalog.listing import problems

    rows = systems()
    for problem in problems():
        note(f"note: {problem.message}")
    if as_json:
        emit(rows)
        return
    say_lines(*listed(rows, shutil.get_terminal_size().columns).split("\n"))


def listed(rows: Sequence[Mapping[str, Any]], width: int) -> str:
    """The systems, family by family, in lines of ``width`` characters at most; no name is broken."""
    named = max(len(row["id"]) for row in rows)
    lines = [f"{len(rows)} systems; zeuxis info NAME tells more; claims: those met, of those measured"]
    lines = wrapped(lines[0], 0, width)
    family = None
    for row in rows:
        if row["family"] != family:
            family = row["family"]
            lines += ["", f"{family:<{named + 2}}  year  claims  can"]
        first = f"  {row['id']:<{named}}  {row['year']}  {met(row['results']):<6}  "
        can = " ".join(row["verbs"]) + (f"; needs {' '.join(row['needs'])}" if row["needs"] else "")
        lines += wrapped(first + can, len(first), width)
        if row["recipes"] != [row["id"]]:
            begins = f"  {'':<{named}}  recipes: "
            lines += wrapped(begins + (" ".join(row["recipes"]) or "none"), len(begins), width)
    return "\n".join(lines)


def wrapped(text: str, indent: int, width: int) -> list[str]:
    """``text`` in lines of ``width``, between words alone; those after the first are indented."""
    return textwrap.wrap(
        text,
        max(width, indent + 20),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def systems() -> list[dict[str, Any]]:
    """One row for every system, ready for JSON."""
    from zeuxis.catalog.listing import entries, results
    from zeuxis.recipe import recipe_systems

    system_of = recipe_systems()
    return [
        {
            "id": name,
            "family": entry.card.family,
            "kind": KIND_MARKS[entry.card.learns],
            "title": entry.card.title,
            "year": entry.card.year,
            "paper": entry.card.paper,
            "verbs": sorted(entry.card.verbs),
            "needs": sorted(entry.card.needs),
            "recipes": [recipe for recipe, system in system_of.items() if system == name],
            "results": [r for r in results().values() if r.get("system") == name],
        }
        for name, entry in entries().items()
    ]


def met(results: list[dict[str, Any]]) -> str:
    """``2 of 3``, or a dash where nothing was measured yet."""
    return f"{sum(bool(r.get('holds')) for r in results)} of {len(results)}" if results else "-"
