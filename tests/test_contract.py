"""Every system keeps the contract. Each distinct network is checked once, in its smallest instance."""

from __future__ import annotations

import pytest

from zeuxis.catalog.listing import entries
from zeuxis.recipe import load_recipe, recipe_paths
from zeuxis.spec import height_width
from zeuxis.testing.case import Case, distinct
from zeuxis.testing.contract import CHECKS, COUNTS, Check
from zeuxis.testing.report import cases_of

SIDE = 16  # pixels a side: the suite's time, not the contract's matter (zeuxis test-system keeps a recipe's own)
OWN_SIDE = {  # networks that are for their own side alone, or are built upon a shipped model that is
    "biggan", "deep-deblur", "frame-predictor", "image-gpt", "image-gpt-label", "latent-diffusion", "maskgit",
    "maskgit-label", "pix2pix-hd", "pixel-cnn-codes", "r3gan", "sagan",
}  # fmt: skip
RECIPES = [load_recipe(name) for name in recipe_paths()]
CASES = [case for system in entries() for case in cases_of(system, recipes=RECIPES)]


def shrunk(case: Case) -> Case:
    """The same at :data:`SIDE` pixels, where it takes them."""
    size = case.recipe.size
    fits = size is not None and min(height_width(size)) > SIDE and case.recipe.name not in OWN_SIDE
    return Case(case.recipe.model_copy(update={"size": SIDE})) if fits else case


DISTINCT = [shrunk(case) for case in distinct(CASES)]
GAMES = [
    pytest.param(check, case, id=f"{check.name}[{case.recipe.name}]")
    for check in CHECKS
    for case in DISTINCT
    if check.concerns(case)
]


@pytest.mark.parametrize(("check", "case"), GAMES)
def test_contract(check: Check, case: Case, device: str) -> None:
    check.run(case if device == case.device else Case(case.recipe, device))


@pytest.mark.parametrize("case", [Case(r) for r in RECIPES if r.counts], ids=lambda case: case.recipe.name)
def test_the_published_size_has_the_published_count(case: Case) -> None:
    COUNTS.run(case)


def test_every_system_has_a_recipe_of_its_own_name() -> None:
    # The networks that read pictures have one recipe for each dataset instead.
    lacking = {e.card.id for e in entries().values() if e.card.family != "recognition"} - set(recipe_paths())
    assert not lacking, f"systems without a desk recipe: {sorted(lacking)}"
