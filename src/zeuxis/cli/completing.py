"""What a shell may complete a name by (``zeuxis --install-completion``): recipes, models, data.

Imports no torch, and what costs time only where a shell asks: every command imports this for its options. Where nothing
begins so the shell offers files and folders.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from zeuxis.catalog.listing import WEIGHTS, entries

RUNS = Path("runs")


def recipes(incomplete: str) -> list[str]:
    """Recipes, and runs to go on with."""
    from zeuxis.recipe import recipe_paths

    return _beginning(incomplete, [*recipe_paths(), *_runs("run.json")])


def runs(incomplete: str) -> list[str]:
    """Run folders."""
    return _beginning(incomplete, _runs("run.json"))


def models(incomplete: str) -> list[str]:
    """Models that ship, generators, and runs that hold a model."""
    shipped = (path.parent.name for path in WEIGHTS.glob("*/model.json"))
    generators = (name for name, one in entries().items() if not one.card.learns)
    return _beginning(incomplete, [*shipped, *generators, *_runs("model/model.json")])


def anything(incomplete: str) -> list[str]:
    """Methods, recipes and models."""
    return _beginning(incomplete, [*entries(), *recipes(incomplete), *models(incomplete)])


def data(incomplete: str) -> list[str]:
    """Datasets and worlds."""
    from zeuxis.data.entries import ENTRIES

    return _beginning(incomplete, ENTRIES)


def _runs(holding: str) -> list[str]:
    return [path.as_posix().removesuffix(f"/{holding}") for path in RUNS.glob(f"*/{holding}")]


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})
