"""The contract run over one system or one file, promise by promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb

from zeuxis.catalog.listing import entries, entry, problems
from zeuxis.errors import UsageError, ZeuxisError
from zeuxis.files import at_home
from zeuxis.recipe import Recipe, load_recipe, parse_recipe, recipe_paths
from zeuxis.testing.case import Case, distinct
from zeuxis.testing.contract import CHECKS, COUNTS


@dataclass(frozen=True)
class Outcome:
    """Whether a recipe's system keeps a promise; ``why`` says what is not so, None where all is well."""

    system: str
    recipe: str
    promise: str
    why: str | None


def systems_of(name: str) -> list[str]:
    """The systems that a file or folder defines (its place must be known), or the system of that id."""
    path = at_home(name).resolve()
    if name in entries() or not path.exists():
        return [entry(name).card.id]
    found = [e.card.id for e in entries().values() if e.place and (e.path == path or path in e.path.parents)]
    wrong = [p.message for p in problems() if str(path) in p.message]
    if wrong:
        raise UsageError(wrong[0])
    if not found:
        raise UsageError(f"{path} defines no system: a class with card = Card(...)")
    return found


def cases_of(system: str, device: str = "cpu", recipes: Sequence[Recipe] | None = None) -> list[Case]:
    """The small instances of a system: of its everyday recipe and of those with ``[tiny]``; else its defaults.

    ``recipes`` are those that were read already: None, the default, reads them.
    """
    known = list(map(load_recipe, recipe_paths().values())) if recipes is None else recipes
    mine = [r for r in known if r.system == system and not r.counts]
    small = sorted((r for r in mine if r.tiny or r.name == system), key=lambda r: r.name != system)
    if not small and not mine:
        mine = [parse_recipe({"name": system, "system": system, "about": "its defaults", "data": "toy"}, system)]
    return [Case(recipe, device) for recipe in small or mine[:1]]


def outcomes(system: str, device: str = "cpu") -> Iterator[Outcome]:
    """Check every promise on every distinct network of ``system``, one after another."""
    cases = []
    for case in cases_of(system, device):
        built = _find("it can be built from its recipe", lambda of: of.network, case)
        if built.why is not None:
            yield built
        else:
            cases.append(case)
    for case in distinct(cases):
        for check in CHECKS:
            if check.concerns(case):
                yield _find(check.promise, check.run, case)
    for recipe in map(load_recipe, recipe_paths().values()):
        if recipe.system == system and recipe.counts:
            yield _find(COUNTS.promise, COUNTS.run, Case(recipe))


def _find(promise: str, run: Callable[[Case], object], case: Case) -> Outcome:
    why = None
    try:
        run(case)
    except Exception as error:  # noqa: BLE001  (whatever the user's code raises is the finding)
        why = _why(error, entry(case.recipe.system).path)
    return Outcome(case.recipe.system, case.recipe.name, promise, why)


def _why(error: Exception, file: Path) -> str:
    """What went wrong, in one line; where it is not in our own words, its kind and the line of the system's file."""
    words = " ".join(str(error).split())
    if isinstance(error, ZeuxisError):
        return words
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if Path(frame.filename) == file]
    return f"{type(error).__name__}: {words}{f' ({file}:{lines[-1]})' if lines else ''}"
