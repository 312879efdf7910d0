"""Every system keeps the contract; what is promised of training is in tests/test_contract_training.py."""

from __future__ import annotations

import pytest
from contracted import DISTINCT, RECIPES, TRAINING, checked, on

from zeuxis.catalog.listing import entries
from zeuxis.recipe import recipe_paths
from zeuxis.testing.case import Case
from zeuxis.testing.contract import CHECKS, COUNTS, Check


@pytest.mark.parametrize(("check", "case"), checked(c.name for c in CHECKS if c.name not in TRAINING))
def test_contract(check: Check, case: Case, device: str) -> None:
    check.run(on(case, device))


@pytest.mark.parametrize("case", [Case(r) for r in RECIPES if r.counts], ids=lambda case: case.recipe.name)
def test_the_published_size_has_the_published_count(case: Case) -> None:
    COUNTS.run(case)


def test_every_system_is_among_those_that_are_checked() -> None:
    assert {case.recipe.system for case in DISTINCT} == set(entries())


def test_every_system_has_a_recipe_of_its_own_name() -> None:
    # The networks that read pictures have one recipe for each dataset instead.
    lacking = {e.card.id for e in entries().values() if e.card.family != "recognition"} - set(recipe_paths())
    assert not lacking, f"systems without a desk recipe: {sorted(lacking)}"
