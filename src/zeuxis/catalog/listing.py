"""What there is: walks ``systems/`` and reads the cards; nothing else lists names.

Cards and recipes are read as text, so listing imports no torch. Classes are imported only from
modules found by that walk: a name in a file never becomes an import.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zeuxis.card import Card
from zeuxis.errors import UnknownName
from zeuxis.knobs import Knob

if TYPE_CHECKING:
    from zeuxis.game import System

T = TypeVar("T")
HERE = Path(__file__).parents[1]
SYSTEMS = HERE / "systems"
WEIGHTS = HERE / "weights"
RESULTS = HERE / "results"


@dataclass(frozen=True)
class Entry:
    """Where a system is defined, and what it says of itself."""

    card: Card
    module: str
    class_name: str
    doc: str


@cache
def entries() -> dict[str, Entry]:
    """Every system, by id, in order of family and year."""
    found = [e for path in sorted(SYSTEMS.glob("*/[!_]*.py")) for e in _read(path)]
    found.sort(key=lambda e: (e.card.family, e.card.year, e.card.id))
    by_id = {e.card.id: e for e in found}
    if len(by_id) != len(found):
        raise RuntimeError("two systems share an id: " + ", ".join(e.card.id for e in found))
    return by_id


def _read(path: Path) -> list[Entry]:
    module = f"zeuxis.systems.{path.parent.name}.{path.stem}"
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for item in node.body if isinstance(node, ast.ClassDef) else ():
            match item:
                case ast.Assign(targets=[ast.Name(id="card")], value=ast.Call(func=ast.Name(id="Card")) as call):
                    assert isinstance(node, ast.ClassDef)
                    found.append(Entry(_made(Card, call), module, node.name, ast.get_docstring(node) or ""))
    return found


def _made(kind: Callable[..., T], call: ast.Call) -> T:
    """What a call with literal arguments makes; a tuple of knobs counts as a literal."""
    return kind(*map(_literal, call.args), **{str(k.arg): _literal(k.value) for k in call.keywords})


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.Tuple(elts=items):
            return tuple(map(_literal, items))
        case ast.Call(func=ast.Name(id="Knob")) as call:
            return _made(Knob, call)
        case _:
            return ast.literal_eval(node)


def entry(system: str) -> Entry:
    """The entry of a system by id."""
    if system not in entries():
        raise UnknownName("system", system, entries())
    return entries()[system]


def system_class(system: str) -> type[System]:
    """The class of a system by id (imports its module)."""
    found = entry(system)
    cls: type[System] = getattr(import_module(found.module), found.class_name)
    return cls


@cache
def results() -> dict[str, dict[str, Any]]:
    """What ``zeuxis reproduce`` measured, by recipe."""
    return {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted(RESULTS.glob("*.json"))}
