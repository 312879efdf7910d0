"""From a recipe and its data to a freshly initialised system."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from zeuxis.catalog.listing import system_class
from zeuxis.errors import UnknownName, UsageError
from zeuxis.recipe import Recipe
from zeuxis.spec import DataSpec

if TYPE_CHECKING:
    from zeuxis.game import System


def build(system: str, spec: DataSpec, model: dict[str, Any], seed: int = 0) -> System:
    """A freshly initialised system for data of ``spec``, which it keeps.

    The constructor gets those of ``spec``'s facts that it names; ``model`` are its other keywords, from the recipe.
    A table where it takes a system describes that system: its ``system`` and that one's keywords.
    """
    cls = system_class(system)
    facts = spec.facts()
    parameters = [p for p in inspect.signature(cls.__init__).parameters if p != "self"]
    for key in model:
        if key not in parameters:
            raise UnknownName(f"key of [model] for '{system}':", key, set(parameters) - set(facts))
    import torch  # noqa: PLC0415  (the catalogue lists without it)

    model = model | _described(cls, spec, model, seed)
    keywords = {k: v for k, v in facts.items() if k in parameters} | model
    with torch.random.fork_rng(devices=[]):
        # Parameter initialisation is the one place where torch's global generator is drawn from.
        torch.default_generator.manual_seed(seed)
        try:
            built = cls(**keywords)
        except TypeError as error:
            raise UsageError(f"'{system}' cannot be built from {sorted(keywords)}: {error}") from None
    built.spec = spec
    return built


def _described(cls: type[System], spec: DataSpec, model: Mapping[str, Any], seed: int) -> dict[str, System]:
    """The systems that tables of ``model`` describe, by keyword, built for what ``cls`` says of each."""
    from zeuxis.game import System  # noqa: PLC0415  (the catalogue lists without torch)

    tables = {key: value for key, value in model.items() if isinstance(value, Mapping)}
    wanted = system_keywords(cls) if tables else ()
    there = {key: value for key, value in model.items() if isinstance(value, System)}
    made: dict[str, System] = {}
    for key in wanted:
        if key not in tables:
            continue
        table = dict(tables[key])
        name = table.pop("system", None)
        if not isinstance(name, str):
            raise UsageError(f"model.{key} describes a system without its name: add {key}.system, such as gaussian")
        made[key] = build(name, cls.part_spec(key, spec, there | made), table, seed)
    return made


def given_models(recipe: Recipe) -> dict[str, str]:
    """The models that a recipe names for its system to build upon (a tokeniser, a feature network), by keyword.

    Such a keyword is one whose type is ``System``; a recipe gives it a shipped name, a run folder or a model folder,
    or else a table that describes a system to be built and trained (see :func:`build`).
    """
    values = {key: recipe.model[key] for key in system_keywords(system_class(recipe.system)) if key in recipe.model}
    for key, value in values.items():
        if not isinstance(value, (str, Mapping)):
            raise UsageError(f"recipe '{recipe.name}': model.{key} is a trained model: give its name or its run folder")
    return {key: value for key, value in values.items() if isinstance(value, str)}


def system_keywords(cls: type[System]) -> list[str]:
    """The keywords of a constructor that are systems, in order."""
    return [key for key, hint in get_type_hints(cls.__init__).items() if _is_system(hint)]


def _is_system(hint: Any) -> bool:
    """Whether a type hint is ``System``, or that or None."""
    from zeuxis.game import System  # noqa: PLC0415  (the catalogue lists without torch)

    return System in (hint, *get_args(hint))
