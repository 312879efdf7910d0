"""Every letter that names an axis in a docstring or a comment is explained, in batch.py or in its own file."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "zeuxis"
SHAPE = re.compile(r"(?<![\w\])])\(([^()]+)\)")
ITEM = re.compile(r"[\w./*+ -]*")
LETTER = re.compile(r"(?<![A-Za-z_])[A-Za-z](?:_[a-z])?(?![A-Za-z_])")
EXPLAINED = re.compile(r"(?<![A-Za-z_])([A-Za-z](?:_[a-z])?)(?![A-Za-z_'])")


def docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def axes(text: str) -> set[str]:
    """The letters of the shapes in ``text``: lists of which an item is one capital letter, as in ``(B, C, 2H)``."""
    letters = set()
    for inside in SHAPE.findall(text):
        items = [item.strip() for item in inside.split(",")]
        if (
            len(items) > 1
            and all(map(ITEM.fullmatch, items))
            and any(re.fullmatch(r"[A-Z](?:_[a-z])?", item) for item in items)
        ):
            letters |= {letter for item in items for letter in LETTER.findall(item)}
    return letters


def legend(docstring: str) -> set[str]:
    """The letters that the paragraph after ``Axes:`` (in batch.py: ``Axis legend``) explains."""
    found = re.search(r"^(?:Axes:|Axis legend)(.+?)(?:\n\n|\Z|\nImages)", docstring, re.DOTALL | re.MULTILINE)
    return set(EXPLAINED.findall(found[1])) if found else set()


COMMON = legend(ast.get_docstring(ast.parse((PACKAGE / "batch.py").read_text(encoding="utf-8"))) or "")


def unexplained(source: str) -> set[str]:
    """The letters of the shapes in a file's comments and docstrings that no legend explains."""
    if axes(source) <= COMMON:  # of all that is in it; to tell comments from code takes a hundred times as long
        return set()
    tree = ast.parse(source)
    lines = iter(source.splitlines(keepends=True))
    comments = [t.string for t in tokenize.generate_tokens(lambda: next(lines, "")) if t.type == tokenize.COMMENT]
    texts = list(docstrings(tree))
    used = {letter for text in (*texts, *comments) for letter in axes(text)}
    return used - COMMON - {letter for text in texts for letter in legend(text)}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_axes_of_a_file_are_explained(path: Path) -> None:
    unknown = unexplained(path.read_text(encoding="utf-8"))
    assert not unknown, f"{path.name}: add a line 'Axes: ...' on {', '.join(sorted(unknown))} to its docstring"


def test_a_letter_without_a_legend_is_found() -> None:
    assert set("BCHWTK") <= COMMON
    assert unexplained('"""Turns ``(B, M, 2P)`` tokens."""\nx = 1  # (B, C, q, W)\n') == {"M", "P", "q"}
    explained = '"""Turns ``(B, Q)``.\n\nAxes: Q queries, of which\nM are new.\n"""\nx = 1  # (M, T + 1)\n'
    assert not unexplained(explained)
    assert not unexplained("x = 1  # f(x, Y), a pair (of, two)\n")
