"""How many parameters a recipe's networks have, without training data or memory for them."""

from __future__ import annotations

from typing import Any

import torch

from zeuxis.catalog.build import build, facts_of
from zeuxis.data.entries import ENTRIES
from zeuxis.data.library import WORLDS, open_source
from zeuxis.game import System
from zeuxis.recipe import Recipe


def data_facts(recipe: Recipe) -> dict[str, Any]:
    """What the recipe's data says of itself to constructors; a known dataset's files are not opened."""
    entry = ENTRIES.get(recipe.data)
    if entry is None or recipe.data in WORLDS:
        return facts_of(open_source(recipe.data, recipe.size, fit=recipe.fit))
    channels, height, width = entry.shape
    shape = (channels, recipe.size or height, recipe.size or width)
    layout = entry.class_names if "layout" in entry.provides and "label" not in entry.provides else ()
    return {"shape": shape, "classes": len(entry.class_names), "layout_names": layout, "words": (), "factors": ()}


def counts(system: System) -> dict[str, int]:
    """Parameters of each network, by the name of the attribute that holds it; shared ones count once each."""
    nets = {name: sum(p.numel() for p in net.parameters()) for name, net in system.named_children()}
    return nets | {name: p.numel() for name, p in system.named_parameters(recurse=False)}


def recipe_counts(recipe: Recipe) -> dict[str, int]:
    """The same for a recipe's system, built on the meta device: shapes alone, no memory."""
    with torch.device("meta"):
        return counts(build(recipe.system, data_facts(recipe), recipe.model))
