"""The keys of a recipe: what each is by default, and what it means. Read as text, so that no torch is imported.

A ``[model]`` key is a keyword of the system's constructor; its meaning is what the class's docstring says of it: an
entry ``name: meaning`` or ``name, other: meaning`` under ``Args:``, or the clause that names it between double backticks.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from zeuxis.errors import UnknownName
from zeuxis.spec import DataSpec

FACTS = frozenset({f.name for f in fields(DataSpec)} | {"classes"})  # what the data say, never a recipe


@dataclass(frozen=True)
class Key:
    """One key of a recipe."""

    name: str  # dotted, as --set takes it
    default: str  # as TOML has it, or "required"
    meaning: str
    value: str | None = None  # of the recipe at hand, where it differs from the default


def model_keys(path: Path, class_name: str) -> dict[str, Key]:
    """The ``[model]`` keys of the system that ``class_name`` in the file at ``path`` is, in order."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    node = next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == class_name), None)
    if node is None:
        raise UnknownName(f"class in {path}:", class_name, [n.name for n in tree.body if isinstance(n, ast.ClassDef)])
    doc = ast.get_docstring(node) or ""
    constructor = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if constructor is None:
        return {}
    args = constructor.args
    plain = [*args.posonlyargs, *args.args][1:]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(args.defaults)) + list(args.defaults)
    pairs = [*zip(plain, defaults, strict=False), *zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    constants = _constants(tree)
    return {
        arg.arg: Key(f"model.{arg.arg}", _spelled(default, constants), meaning_of(arg.arg, doc))
        for arg, default in pairs
        if arg.arg not in FACTS
    }


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """The literals that the module gives names to."""
    named = [n for n in tree.body if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name)]
    return {n.targets[0].id: n.value for n in named if isinstance(n.targets[0], ast.Name)}


def _spelled(default: ast.expr | None, constants: Mapping[str, ast.expr]) -> str:
    """A default as TOML has it, or as Python does where TOML has no such value."""
    if default is None:
        return "required"
    if isinstance(default, ast.Name):
        default = constants.get(default.id, default)
    try:
        return toml(ast.literal_eval(default))
    except ValueError:
        return ast.unparse(default)


def toml(value: Any) -> str:
    """A plain value as TOML spells it; ``none`` for None, which TOML leaves out."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case list() | tuple():
            return "[" + ", ".join(map(toml, value)) + "]"
        case Mapping():
            return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }" if value else "{}"
        case _:
            return str(value)


def meaning_of(name: str, doc: str) -> str:
    """What a docstring says of ``name``, in one line; empty where it says nothing."""
    return _entry(name, doc) or _clause(name, doc)


def _entry(name: str, doc: str) -> str:
    """The entry of ``name`` under ``Args:``."""
    _, found, arguments = doc.partition("Args:\n")
    if not found:
        return ""
    for entry in re.split(r"\n(?=    \S)", arguments.split("\n\n")[0]):
        names, colon, text = entry.partition(": ")
        spoken = re.sub(r"\([^)]*\)", "", names)  # ``depth (residual blocks a level), heads``
        if colon and name in re.findall(r"\w+", spoken):
            of_it = re.search(rf"\b{name} \(([^)]*)\)", names)
            return " ".join((f"{of_it[1]}: " if of_it else "").split() + text.split()).strip()
        inner = re.search(rf"``{name}``[^.;]*", entry)
        if inner:
            return " ".join(inner[0].split())
    return ""


def _clause(name: str, doc: str) -> str:
    """The clause that names ``name`` between double backticks: up to a semicolon or a full stop on either side."""
    text = " ".join(doc.split("Args:\n")[0].split())
    for clause in re.split(r"(?<=[.;:])\s+(?=[A-Z`\"(]|the |a )", text):
        if f"``{name}``" in clause:
            return clause.strip().rstrip(".;")
    return ""
