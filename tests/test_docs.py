"""The generated pages are what the cards, recipes and results say now."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from zeuxis.api.evidence import recipe_standing
from zeuxis.catalog.listing import RESULTS, results
from zeuxis.recipe import load_recipe, recipe_paths

DOCS = Path(__file__).parent.parent / "docs"
TOOLS = DOCS.parent / "tools"
spec = importlib.util.spec_from_file_location("generate", TOOLS / "generate.py")
assert spec is not None and spec.loader is not None
sys.path.insert(0, str(TOOLS))  # as it is where the script is run
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)

FIELDS = {
    "recipe", "system", "data", "metric", "value", "per_seed", "baseline", "baseline_value", "bound", "holds",
    "seconds", "machine", "commit", "versions", "weights_sha256", "sample_sheet",
}  # fmt: skip


@pytest.mark.parametrize("page", generate.PAGES)
def test_generated_pages_are_fresh(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == generate.PAGES[page](), "stale: run `make docs`"


@pytest.mark.parametrize("tool", sorted(path.stem for path in TOOLS.glob("*.py")))
def test_every_tool_can_be_imported(tool: str) -> None:
    """They run by hand and rarely: a name that has moved shows here."""
    found = importlib.util.spec_from_file_location(f"tool_{tool}", TOOLS / f"{tool}.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    assert module.__doc__


def test_the_page_of_parts_finds_classes_functions_and_shapes() -> None:
    page = (DOCS / "parts.md").read_text(encoding="utf-8")
    assert "| `CrossAttention(width, context_width, heads, bias)` |" in page
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 200 and sum("`(B, C, H, W)`" in cells[-1] for cells in rows) > 20
    undocumented = [cells[0] for cells in rows if not cells[1].strip()]
    assert not undocumented, undocumented


def test_results_are_whole_and_agree_with_their_recipes() -> None:
    for name, found in results().items():
        recipe = load_recipe(name)
        assert recipe.claim is not None and set(found) >= FIELDS, name
        assert (found["metric"], found["bound"]) == (recipe.claim.metric, recipe.claim.bound), name
        assert found["value"] == pytest.approx(sum(s["value"] for s in found["per_seed"]) / len(found["per_seed"]))
        sheet = found["sample_sheet"]
        assert sheet is None or (RESULTS / sheet).is_file(), name


CHANGED: frozenset[str] = frozenset()  # results of an earlier recipe, which are known to be so


def test_no_result_is_of_an_earlier_recipe_without_a_word() -> None:
    # A keyword or knob that is neutral at its default belongs to IDLE (zeuxis.api.evidence).
    standings = {name: recipe_standing(found, load_recipe(name)) for name, found in results().items()}
    assert {name for name, standing in standings.items() if standing == "recipe changed since"} == CHANGED


def test_links_between_the_pages_lead_somewhere() -> None:
    import re

    for page in [DOCS.parent / "README.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_recipe_is_valid_and_says_what_it_is() -> None:
    for name in recipe_paths():
        recipe = load_recipe(name)
        assert recipe.about and json.dumps(recipe.model_dump())
