"""What the contract is checked on: each distinct network of the catalogue once, in its smallest instance."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from zeuxis.catalog.listing import entries
from zeuxis.recipe import load_recipe, recipe_paths
from zeuxis.spec import height_width
from zeuxis.testing.case import Case, distinct
from zeuxis.testing.contract import CHECKS
from zeuxis.testing.report import cases_of

# Pixels a side: the suite's time, not the contract's matter (zeuxis test-system keeps a recipe's own).
SIDE, WIDER, NARROWER = 16, 32, 8
WIDE = {"biggan", "deep-deblur", "frame-predictor", "pix2pix-hd", "r3gan", "sagan"}  # systems that take no fewer
NARROW = {"image-gpt", "maf", "pixel-cnn"}  # systems that draw pixel by pixel
SHIPPED = "vqgan"  # a model that is for WIDER pictures alone, and what is built upon it with it
TRAINING = ("moves-change-their-own-player", "eight-images-are-learnt")  # in a file of their own
RECIPES = [load_recipe(name) for name in recipe_paths()]
CASES = [case for system in entries() for case in cases_of(system, recipes=RECIPES)]


def shrunk(case: Case) -> Case:
    """The same at few pixels, where its own are more."""
    recipe = case.recipe
    wide = recipe.system in WIDE or SHIPPED in recipe.model.values()
    side = WIDER if wide else NARROWER if recipe.system in NARROW else SIDE
    more = recipe.size is not None and min(height_width(recipe.size)) > side
    return Case(recipe.model_copy(update={"size": side})) if more else case


DISTINCT = distinct(map(shrunk, CASES))


def checked(names: Iterable[str]) -> list[object]:
    """The parameters of a test: each check of those names, on each case that it concerns."""
    by_name = {check.name: check for check in CHECKS}
    return [
        pytest.param(check, case, id=f"{check.name}[{case.recipe.name}]")
        for check in map(by_name.__getitem__, names)
        for case in DISTINCT
        if check.concerns(case)
    ]


def on(case: Case, device: str) -> Case:
    """``case`` on ``device``."""
    return case if device == case.device else Case(case.recipe, device)
