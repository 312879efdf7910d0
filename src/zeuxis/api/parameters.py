"""How many parameters a recipe's networks have, without training data or memory for them."""

from __future__ import annotations

import torch

from zeuxis.catalog.assemble import load_given, trained_by
from zeuxis.catalog.build import build, given_models
from zeuxis.data.entries import ENTRIES
from zeuxis.data.library import WORLDS, open_source
from zeuxis.game import System
from zeuxis.recipe import Recipe
from zeuxis.spec import DataSpec


def spec_of(recipe: Recipe) -> DataSpec:
    """The facts of the recipe's data; a known dataset's files are not opened."""
    entry = ENTRIES.get(recipe.data)
    if entry is None or recipe.data in WORLDS:
        return open_source(recipe.data, recipe.size, fit=recipe.fit).spec
    return entry.spec if recipe.size is None else entry.spec.at(recipe.size)


def counts(system: System) -> dict[str, int]:
    """Parameters of each network, by the name of the attribute that holds it; shared ones count once each."""
    nets = {name: sum(p.numel() for p in net.parameters()) for name, net in system.named_children()}
    return nets | {name: p.numel() for name, p in system.named_parameters(recurse=False)}


def recipe_counts(recipe: Recipe) -> dict[str, int]:
    """The same for a recipe's system, built on the meta device: shapes alone, no memory but for models it names."""
    return counts(_on_meta(recipe))


def _on_meta(recipe: Recipe) -> System:
    given: dict[str, System] = {}
    for key, name in given_models(recipe).items():
        first = trained_by(name)
        given[key] = load_given(name) if first is None else _on_meta(first)
    spec = spec_of(recipe)  # of worlds by numbers, which need memory
    with torch.device("meta"):
        return build(recipe.system, spec, recipe.model | given)
