"""The page of parts: what networks, losses, paths, metrics, degradations and patterns there are to build with.

Read from the source by its syntax tree, so nothing is imported, and what is renamed or added shows by itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "zeuxis"
PACKAGES = {
    "nn": "Layers and networks",
    "losses": "Losses",
    "distributions": "Distributions and invertible maps",
    "diffusion": "Noise levels, paths, samplers and guidance",
    "metrics": "Metrics",
    "degrade": "Degradations",
    "patterns": "Patterns without learning",
}
TOKEN = r"(?:\.\.\.|[A-Z0-9][A-Za-z0-9'_ /*+-]{0,12}|[a-z])"
SHAPE = re.compile(rf"\({TOKEN}(?:, {TOKEN})*,?\)")
CALLS = ("forward", "__call__")  # whose shapes are those of the class
AXES = "Axes:"  # begins the legend of axis letters in a module's docstring


def parts(notice: str) -> str:
    """The page, below ``notice``."""
    lines = [notice, "# Parts", ""]
    lines += [
        "What a method is built from: modules, functions, and the shapes they take and give, as their docstrings say.",
        "Axes: B batch, C channels, H and W rows and columns, T time or frames, K classes; a module that uses more",
        "letters has a legend of its own. How parts become a method: [add a method](add-a-method.md).",
        "",
    ]
    present = {name: title for name, title in PACKAGES.items() if (SOURCE / name).is_dir()}
    lines += [f"- [{title}](#{anchor(title)}), `zeuxis.{name}`" for name, title in present.items()]
    for name, title in present.items():
        lines += ["", f"## {title}"]
        for path in sorted((SOURCE / name).rglob("*.py")):
            lines += module(path)
    return "\n".join([*lines, ""])


def anchor(title: str) -> str:
    """The part of a link that leads to a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def module(path: Path) -> list[str]:
    """A module's heading, its first sentence, and a table of what is public in it; nothing for one without parts."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    rows = [row(node, source) for node in public(tree.body)]
    if not rows:
        return []
    inside = path.relative_to(SOURCE).with_suffix("")
    dotted = ".".join(("zeuxis", *inside.parts)).removesuffix(".__init__")
    legend = [line.strip() for line in (ast.get_docstring(tree) or "").splitlines() if line.strip().startswith(AXES)]
    head = ["", f"### [{dotted}](../src/zeuxis/{inside.as_posix()}.py)", "", first(tree), *legend, ""]
    return [*head, "| part | what it is | shapes |", "|---|---|---|", *rows]


def public(body: list[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """The public classes and functions of a module, in its order."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def row(node: ast.ClassDef | ast.FunctionDef, source: str) -> str:
    """Name with arguments, first sentence, shapes."""
    cells = (f"`{node.name}({', '.join(arguments(node))})`", first(node), shapes(node, source))
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def first(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    """The first paragraph of a docstring, in one line."""
    text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
    return re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text).replace("``", "`")


def arguments(node: ast.ClassDef | ast.FunctionDef) -> list[str]:
    """The names of what it is given: of a class, by its constructor or its fields."""
    if isinstance(node, ast.FunctionDef):
        given = node.args
        names = [a.arg for a in (*given.posonlyargs, *given.args)]
        return [*names, *(["*" + given.vararg.arg] if given.vararg else []), *(a.arg for a in given.kwonlyargs)]
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            return arguments(inner)[1:]
    decorators = {ast.unparse(d).split("(")[0] for d in node.decorator_list}
    if "dataclass" not in decorators:
        return []
    fields = [inner for inner in node.body if isinstance(inner, ast.AnnAssign)]
    return [
        f.target.id for f in fields if isinstance(f.target, ast.Name) and "ClassVar" not in ast.unparse(f.annotation)
    ]


def shapes(node: ast.ClassDef | ast.FunctionDef, source: str) -> str:
    """Every shape that its docstring, those of its calls, or the comments on their arguments name, once each."""
    texts = [ast.get_docstring(node) or ""]
    calls = [node] if isinstance(node, ast.FunctionDef) else []
    if isinstance(node, ast.ClassDef):
        calls = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name in (*CALLS, "__init__")]
    for call in calls:
        texts.append(ast.get_docstring(call) or "")
        head = source.splitlines()[call.lineno - 1 : call.body[0].lineno - 1]
        texts += [line.partition("#")[2] for line in head]
    found = [shape for text in texts for shape in SHAPE.findall(" ".join(text.split()))]
    kept = dict.fromkeys(s for s in found if "," in s and re.search(r"\b\d*[A-Z]", s) and not re.search(r"\d{4}", s))
    return ", ".join(f"`{shape}`" for shape in kept)
