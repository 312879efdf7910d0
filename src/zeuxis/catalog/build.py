"""From a recipe and its data to a freshly initialised system."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from zeuxis.catalog.listing import system_class
from zeuxis.errors import UnknownName, UsageError, is_out_of_memory
from zeuxis.recipe import Recipe
from zeuxis.spec import DataSpec

if TYPE_CHECKING:
    from zeuxis.game import System

NO_WIDTH = "Initializing zero-element tensors"  # what torch warns of that fills a layer which has nothing in it


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
    check_values(cls, model)
    import torch  # noqa: PLC0415  (the catalogue lists without it)

    asked = model
    model = model | _described(cls, spec, model, seed)
    keywords = {k: v for k, v in facts.items() if k in parameters} | model
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("error", NO_WIDTH)
        # Parameter initialisation is the one place where torch's global generator is drawn from.
        torch.default_generator.manual_seed(seed)
        try:
            built = cls(**keywords)
        except UserWarning as error:
            if not str(error).startswith(NO_WIDTH):
                raise
            raise UsageError(f"'{system}' has a layer of no width with {_told(asked)}: give numbers above 0") from None
        except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
            if is_out_of_memory(error):
                raise
            raise UsageError(f"'{system}' cannot be built with {_told(asked)}: {error}") from error
    built.spec = spec
    return built


def _told(model: Mapping[str, Any], at: str = "model") -> str:
    """What a recipe asks of the constructor, tables within tables likewise."""
    parts = []
    for key, value in model.items():
        if isinstance(value, Mapping):
            parts.append(_told(value, f"{at}.{key}"))
        elif value is None or isinstance(value, (bool, int, float, str, list, tuple)):  # not a system that was given
            parts.append(f"{at}.{key} = {value!r}")
    return ", ".join(parts) or "its defaults"


def check_values(cls: type[System], model: Mapping[str, Any]) -> None:
    """Refuse a value of [model] that is not of the kind that the constructor says it takes."""
    hints = get_type_hints(cls.__init__)
    for key, value in model.items():
        wanted = _wanted(hints.get(key, Any))
        if wanted is not None and not wanted.takes(value):
            raise UsageError(f"model.{key} is {value!r}: give {wanted}")


def takes(cls: type[System], key: str, value: Any) -> bool:
    """Whether the constructor says that it takes ``value`` for ``key``, of which it says a kind."""
    wanted = _wanted(get_type_hints(cls.__init__).get(key, Any))
    return wanted is not None and wanted.takes(value)


@dataclass(frozen=True)
class _List:
    """A list of plain values of one kind, of any length or of ``count``."""

    kind: type
    count: int | None

    def takes(self, value: Any) -> bool:
        if not isinstance(value, (list, tuple)) or self.count not in (None, len(value)):
            return False
        return all(type(item) is self.kind or (type(item) is int and self.kind is float) for item in value)

    def __str__(self) -> str:
        return f"a list of {'' if self.count is None else f'{self.count} '}{SEVERAL[self.kind]}"


@dataclass(frozen=True)
class _Wanted:
    """Plain values that an argument takes, and lists of such."""

    kinds: frozenset[type]
    choices: tuple[Any, ...] = ()
    lists: tuple[_List, ...] = ()

    def takes(self, value: Any) -> bool:
        if type(value) is int and float in self.kinds:
            return True
        if type(value) in self.kinds or any(one.takes(value) for one in self.lists):
            return True
        return not isinstance(value, (list, tuple)) and value in self.choices

    def __str__(self) -> str:
        kinds = [NAMES[kind] for kind in NAMES if kind in self.kinds]
        return " or ".join([*kinds, *map(str, self.lists), *(repr(choice) for choice in self.choices)])


NAMES: Mapping[type, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
SEVERAL: Mapping[type, str] = {
    int: "whole numbers, such as [8, 16]",
    float: "numbers, such as [0.5, 0.999]",
    str: 'texts, such as ["a", "b"]',
}


def _wanted(hint: Any) -> _Wanted | None:
    """What a type hint of plain values takes; None for others, which the constructor itself checks."""
    kinds, choices, lists = set[type](), list[Any](), list[_List]()
    for part in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        if part in NAMES:
            kinds.add(part)
        elif part is NoneType:
            choices.append(None)
        elif get_origin(part) is Literal:
            choices += get_args(part)
        elif (found := _list_of(part)) is not None:
            lists.append(found)
        else:
            return None
    return _Wanted(frozenset(kinds), tuple(choices), tuple(lists))


def _list_of(hint: Any) -> _List | None:
    """What ``tuple[int, ...]`` or ``tuple[float, float]`` takes; None for another hint."""
    items = get_args(hint) if get_origin(hint) is tuple else ()
    count = None if items[1:] == (Ellipsis,) else len(items)
    kinds = {item for item in items if item is not Ellipsis}
    return _List(kinds.pop(), count) if len(kinds) == 1 and kinds <= SEVERAL.keys() else None


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
