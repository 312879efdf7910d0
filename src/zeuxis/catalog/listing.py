"""What there is: walks ``systems/`` and the user's own places and reads the cards; nothing else lists names.

Cards and recipes are read as text, so listing imports no torch. Classes are imported only from
modules found by that walk: a name in a file never becomes an import.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zeuxis import plugins
from zeuxis.card import Card
from zeuxis.catalog.parsing import parsed
from zeuxis.errors import UnknownName, UsageError, ZeuxisError
from zeuxis.files import read_bytes, spelt_error
from zeuxis.knobs import Knob
from zeuxis.plugins import Place, Problem
from zeuxis.plugins import add_systems as add_systems
from zeuxis.recipe import recipe_problems

if TYPE_CHECKING:
    from zeuxis.game import System

T = TypeVar("T")
CARD = re.compile(r"^    card(: [\w.]+)? = Card\(.*?^    \)\n", re.MULTILINE | re.DOTALL)
HERE = Path(__file__).parents[1]
SYSTEMS = HERE / "systems"
WEIGHTS = HERE / "weights"
RESULTS = HERE / "results"


@dataclass(frozen=True)
class Entry:
    """Where a system is defined, and what it says of itself. ``place`` is None of those in the package."""

    card: Card
    path: Path
    class_name: str
    doc: str
    place: Place | None = None

    @property
    def module(self) -> str:
        """The dotted name of its module; of a system of the user's own, the file."""
        return str(self.path) if self.place else f"zeuxis.systems.{self.path.parent.name}.{self.path.stem}"


def entries() -> dict[str, Entry]:
    """Every system, by id, in order of family and year: those of the package and the user's own."""
    return _found(plugins.places())[0]


@cache
def packaged() -> dict[str, Entry]:
    """The systems of the package, by id."""
    found = [e for path in sorted(SYSTEMS.glob("*/[!_]*.py")) for e in _read(path)]
    by_id = {e.card.id: e for e in found}
    if len(by_id) != len(found):
        raise RuntimeError("two systems share an id: " + ", ".join(e.card.id for e in found))
    return by_id


def problems() -> list[Problem]:
    """What of the user's own cannot be used, and why: files, cards, recipes, entry points."""
    return [*_found(plugins.places())[1], *recipe_problems(), *plugins.problems_of_places()]


@cache
def _found(places: tuple[Place, ...]) -> tuple[dict[str, Entry], list[Problem]]:
    by_id = dict(packaged())
    wrong: list[Problem] = []
    for path, place in {path: p for p in reversed(places) for path in p.files(".py")}.items():
        try:
            own = list(_read(path, place))
        except UsageError as error:
            wrong.append(Problem(str(error), _names_in(path)))
            continue
        if not own and path == place.path:
            wrong.append(Problem(f"{path}: defines no system: a class with card = Card(...)", frozenset({path.stem})))
        for e in own:
            other = by_id.setdefault(e.card.id, e)
            if other is not e:
                both = f"{other.path} and {e.path}"
                wrong.append(
                    Problem(f"two systems are called '{e.card.id}': {both}: rename yours", frozenset({e.card.id}))
                )
    order = sorted(by_id.values(), key=lambda e: (e.card.family, e.card.year, e.card.id))
    return {e.card.id: e for e in order}, wrong


plugins.cleared_with_places(_found.cache_clear)


def _names_in(path: Path) -> frozenset[str]:
    """The names under which the systems of a file that cannot be read may be asked for."""
    try:
        text = read_bytes(path).decode("utf-8", errors="replace")
    except OSError:  # its name alone is known
        text = ""
    return frozenset(
        {path.stem, path.stem.replace("_", "-"), *re.findall(r"""Card\(\s*(?:id\s*=\s*)?["']([^"']+)""", text)}
    )


def _read(path: Path, place: Place | None = None) -> Iterator[Entry]:
    """The systems that a file defines; raises :class:`UsageError` with the line that cannot be read."""
    try:
        text = read_bytes(path)
        tree = parsed(text if place else _as_far_as_the_card(text.decode("utf-8")), str(path))
    except (SyntaxError, ValueError) as error:  # ValueError: a null byte
        line = getattr(error, "lineno", None) or 1
        raise UsageError(f"{path}:{line}: not Python: {getattr(error, 'msg', error)}") from None
    except (OSError, RecursionError, MemoryError) as error:  # of Python's parser, where it is nested too deeply
        raise UsageError(f"{path}: cannot be read: {spelt_error(error, path)}") from None
    for node in tree.body:
        for item in node.body if isinstance(node, ast.ClassDef) else ():
            match item:
                case (
                    ast.Assign(targets=[ast.Name(id="card")], value=ast.Call(func=called) as call)
                    | ast.AnnAssign(target=ast.Name(id="card"), value=ast.Call(func=called) as call)
                ) if _name(called) == "Card":
                    assert isinstance(node, ast.ClassDef)
                    try:
                        card = _made(Card, call)
                    except (ValueError, TypeError, ZeuxisError) as error:
                        why = str(error).splitlines()[0]
                        raise UsageError(
                            f"{path}:{call.lineno}: this card cannot be read without running the file: {why}; "
                            "write it with literals alone"
                        ) from None
                    yield Entry(card, path, node.name, ast.get_docstring(node) or "", place)


def _as_far_as_the_card(text: str) -> str:
    """A file of the package up to the end of its last card: what comes behind costs a listing most of its time."""
    return text[: max((card.end() for card in CARD.finditer(text)), default=len(text))]


def _name(called: ast.expr) -> str | None:
    """The last name of what is called: ``Card`` of ``Card(...)`` and of ``card.Card(...)``."""
    match called:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return None


def _made(kind: Callable[..., T], call: ast.Call) -> T:
    """What a call with literal arguments makes; a tuple of knobs counts as a literal."""
    return kind(*map(_literal, call.args), **{str(k.arg): _literal(k.value) for k in call.keywords})


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.Tuple(elts=items):
            return tuple(map(_literal, items))
        case ast.Call(func=called) as call if _name(called) == "Knob":
            return _made(Knob, call)
        case _:
            return ast.literal_eval(node)


def entry(system: str) -> Entry:
    """The entry of a system by id; raises :class:`UsageError` where the file that defines it cannot be used."""
    known, wrong = _found(plugins.places())
    for problem in wrong:
        if system in problem.names:
            raise UsageError(problem.message)
    if system not in known:
        raise UnknownName("system", system, known, f"({plugins.HOW})")
    return known[system]


def system_class(system: str) -> type[System]:
    """The class of a system by id (imports its module)."""
    found = entry(system)
    module = plugins.import_file(found.place, found.path) if found.place else import_module(found.module)
    cls: type[System] = getattr(module, found.class_name)
    return cls


@cache
def results() -> dict[str, dict[str, Any]]:
    """What ``zeuxis reproduce`` measured first, by recipe; no name of a recipe has a full stop."""
    found = sorted(path for path in RESULTS.glob("*.json") if "." not in path.stem)
    return {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in found}


@cache
def opinions() -> dict[str, list[dict[str, Any]]]:
    """What was measured again on machines of other kinds, by recipe: ``results/RECIPE.KIND.json``."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(p for p in RESULTS.glob("*.json") if "." in p.stem):
        found.setdefault(path.stem.partition(".")[0], []).append(json.loads(path.read_text(encoding="utf-8")))
    return found
