"""The written pages say what is so: commands parse, recipes and links are there, the table of datasets is whole."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from zeuxis.cli.tree import COMMANDS, tree
from zeuxis.data.entries import ENTRIES
from zeuxis.recipe import load_recipe, recipe_paths

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITH_RECIPES = {"train": "recipe", "reproduce": "recipe", "compare": "recipes"}


def commands(page: Path) -> Iterator[list[str]]:
    """The words after ``zeuxis`` of every command in the page's blocks, and in its text."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")  # a command may go on in the next line
    lines = [line.removeprefix("$ ") for block in BLOCK.findall(text) for line in block.splitlines()]
    lines += re.findall(r"^    (zeuxis .+)$", text, re.MULTILINE)
    lines += re.findall(r"`(zeuxis [^`]+)`", BLOCK.sub("", text))
    for line in lines:
        words = shlex.split(line, comments=True) if line.startswith(("zeuxis ", "OMP_NUM_THREADS")) else []
        words = [w for w in words if not w.startswith("OMP_NUM_THREADS=")]
        if words[1:] and words[1].islower():  # not a placeholder such as COMMAND
            yield words[1:]


FOUND = [(page, words) for page in PAGES for words in commands(page)]


def test_the_pages_show_every_command() -> None:
    shown = {words[0] for page, words in FOUND if page.name == "command-line.md"}
    assert shown >= set(COMMANDS)


@pytest.mark.parametrize(("page", "words"), FOUND, ids=[f"{p.name}: {' '.join(w)}" for p, w in FOUND])
def test_commands_in_the_pages_can_be_given(page: Path, words: list[str]) -> None:
    if words[0].startswith("-"):
        return
    command = tree(words[0]).commands[words[0]]
    if len(words) == 1:  # in running text a command may be named without its arguments
        return
    given = command.make_context(words[0], words[1:]).params  # parses and checks; runs nothing
    named = given.get(WITH_RECIPES.get(words[0], ""), ())
    for recipe in [named] if isinstance(named, str) else named:
        # Capitals stand for a name of the reader's; the page on adding a method makes a recipe of its own.
        made_here = recipe.isupper() or recipe.endswith(".toml") or recipe == "my-wae"
        made_here = made_here or (words[0] == "train" and recipe.startswith("runs/"))  # a run that is gone on with
        assert made_here or recipe in recipe_paths(), f"no recipe '{recipe}'"
        if words[0] == "reproduce" and not made_here:
            assert load_recipe(recipe).claim is not None, f"'{recipe}' makes no claim"


def test_the_table_of_datasets_is_whole() -> None:
    page = (ROOT / "docs" / "bring-your-data.md").read_text(encoding="utf-8")
    rows = [
        f"| `{e.name}` | {'x'.join(map(str, e.spec.shape))} | {sum(e.splits.values()):,} "
        f"| {', '.join(e.provides) or '-'} | {e.licence} | {'yes' if e.may_ship else '**no**'} |"
        for e in ENTRIES.values()
    ]
    assert re.findall(r"^\| `\S+` \| \d+x\d.*$", page, re.MULTILINE) == rows


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    """Of the pages that `test_docs.py` does not look at."""
    for target in re.findall(r"\]\(([^)#\s]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        assert "://" in target or (ROOT / target).exists(), target
