"""``zeuxis list``: every system there is. Imports no torch."""

from __future__ import annotations

from typing import Any

from zeuxis.cli.options import Json
from zeuxis.cli.output import emit, note, table

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
    table(
        f"{len(rows)} systems; zeuxis info NAME tells more",
        ["id", "family", "year", "can", "needs", "recipes", "claims met"],
        [
            [
                row["id"],
                row["family"],
                str(row["year"]),
                " ".join(row["verbs"]),
                " ".join(row["needs"]),
                " ".join(row["recipes"]),
                met(row["results"]),
            ]
            for row in rows
        ],
    )


def systems() -> list[dict[str, Any]]:
    """One row for every system, ready for JSON."""
    from zeuxis.catalog.listing import entries, results
    from zeuxis.recipe import load_recipe, recipe_paths

    recipes = [load_recipe(path) for path in recipe_paths().values()]
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
            "recipes": [r.name for r in recipes if r.system == name],
            "results": [r for r in results().values() if r.get("system") == name],
        }
        for name, entry in entries().items()
    ]


def met(results: list[dict[str, Any]]) -> str:
    """``2 of 3``, or a dash where nothing was measured yet."""
    return f"{sum(bool(r.get('holds')) for r in results)} of {len(results)}" if results else "-"
