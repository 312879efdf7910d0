"""Recipes: what differs from a method's defaults, the data, the budget, and the claim. Imports no torch.

A recipe is a TOML file in ``recipes/<family>/<name>.toml``, or lies with the user's own systems
(:mod:`zeuxis.plugins`). It inherits from nothing: what it does not say is the constructor's default, and an unknown
key is an error that names the nearest one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from zeuxis import plugins
from zeuxis.errors import UnknownName, UsageError
from zeuxis.plugins import Place, Problem
from zeuxis.spec import LEAST_SIDE, MOST_SIDE, Size, in_bounds

RECIPES = Path(__file__).parent / "recipes"
FORMER = {"rounds": "iterations", "max_bad_rounds": "max_bad_iterations"}  # keys of [train] in older versions


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Train(_Table):
    """How long and how. At least one of ``iterations`` and ``minutes`` bounds a game; the first reached ends it."""

    iterations: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0)  # of training, previews and evaluation not counted
    batch: int = Field(64, ge=1)
    accumulate: int = Field(1, ge=1)  # parts that a batch is cut into, for memory
    precision: Literal["float32", "bfloat16", "float16"] = "float32"  # float16 scales the loss of each player
    channels_last: bool = False
    compile: bool = False
    ema: float = Field(0.0, ge=0, lt=1)  # decay a round of the averaged weights; 0 keeps no average
    ema_warmup: bool = True  # decay = min(ema, (1 + n) / (10 + n)) in round n
    max_bad_iterations: int = Field(10, ge=0)  # non-finite steps in a row before training stops
    save_minutes: float = Field(2.0, gt=0)
    preview_minutes: float = Field(1.0, gt=0)
    keep: int = Field(2, ge=1)  # checkpoints kept
    seed: int = 0
    start: str | None = None  # a model of the same shape whose weights training starts from


class Claim(_Table):
    """What ``zeuxis reproduce`` measures and the bound it must meet, on the data's test split."""

    metric: str
    better: Literal["lower", "higher"]
    bound: float | None = None  # None: not enough runs yet to know what a correct implementation reaches
    samples: int = Field(5000, ge=2)
    baseline: str | None = None  # the recipe that could have won
    baseline_sample: dict[str, Any] | None = None  # its Sampling; None leaves it to its own recipe
    seeds: tuple[int, ...] = (0,)
    features: str | None = None  # the shipped network whose feature space is used; None takes the dataset's own
    note: str = ""


class Recipe(_Table):
    """One training, wholly described."""

    name: str
    system: str
    about: str
    data: str
    size: int | tuple[int, int] | None = None  # pixels a side, or height and width; None keeps the data's own
    fit: str = "square"  # how pictures of mixed shapes come to that size in training: see zeuxis.data.fit
    model: dict[str, Any] = {}  # constructor keywords that differ from the defaults
    tiny: dict[str, Any] = {}  # more of them, for the smallest instance
    players: dict[str, dict[str, Any]] = {}  # fields of Player to replace
    train: Train = Train.model_construct()
    sample: dict[str, Any] = {}  # fields of Sampling that evaluation uses
    claim: Claim | None = None
    counts: dict[str, int] = {}  # parameters per network, pinned at this size

    @field_validator("size")
    @classmethod
    def _bounded(cls, size: Size | None) -> Size | None:
        if size is not None and not in_bounds(size):
            raise ValueError(f"pictures may have from {LEAST_SIDE} to {MOST_SIDE} pixels a side")
        return size


def recipe_paths() -> dict[str, Path]:
    """Every recipe, by name: those of the package and the user's own."""
    return _found(plugins.places())[0]


def recipe_problems() -> list[Problem]:
    """What of the user's own recipes cannot be used, and why."""
    return _found(plugins.places())[1]


@cache
def packaged_recipes() -> dict[str, Path]:
    """The recipes of the package, by name."""
    return {p.stem: p for p in sorted(RECIPES.glob("*/*.toml"))}


@cache
def _found(places: tuple[Place, ...]) -> tuple[dict[str, Path], list[Problem]]:
    """The recipes there are when systems are also looked for in ``places``, and what is wrong with the user's own."""
    paths = dict(packaged_recipes())
    own, wrong = plugins.recipe_files(places)
    for name, path in own.items():
        if name in paths:
            both = f"{paths[name]} and {path}"
            wrong.append(Problem(f"two recipes are called '{name}': {both}: rename yours", frozenset({name})))
            continue
        try:
            _read(path, str(path))
        except UsageError as error:
            wrong.append(Problem(str(error), frozenset({name})))
            continue
        paths[name] = path
    return paths, wrong


plugins.cleared_with_places(_found.cache_clear)


def load_recipe(name: str | Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """The recipe called ``name`` (or at that path), with dotted overrides such as ``train.batch=32``.

    Raises :class:`UsageError` for an unknown recipe, key or value.
    """
    known, wrong = _found(plugins.places())
    for problem in wrong:
        if str(name) in problem.names:
            raise UsageError(problem.message)
    path = known.get(str(name), Path(name))
    if str(name) not in known and (path.suffix != ".toml" or not path.is_file()):
        raise UnknownName("recipe", str(name), known, hint="(or give the path of a .toml file)")
    return _read(path, str(name), overrides)


def _read(path: Path, where: str, overrides: tuple[str, ...] = ()) -> Recipe:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path} is not valid TOML: {error}") from None
    for override in overrides:
        _apply(table, override)
    return parse_recipe({"name": path.stem, **table}, where=where)


def parse_recipe(table: dict[str, Any], where: str) -> Recipe:
    """A recipe from its table; ``where`` names it in errors."""
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise _explain(error, where) from None


def merged(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``table`` with ``changes``, tables within tables likewise: what ``[tiny]`` does to ``[model]``."""
    both = dict(table)
    for key, value in changes.items():
        inner = both.get(key)
        both[key] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return both


def _apply(table: dict[str, Any], override: str) -> None:
    """Set ``a.b.c=value`` in ``table``; the value is read as TOML, or else as a plain string."""
    key, equals, text = override.partition("=")
    if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key.strip()):
        raise UsageError(f"override '{override}' is not of the form a.b=value, e.g. players.critic.lr=1e-4")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *parents, last = key.strip().split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise UsageError(f"override '{override}': '{parent}' is a value, not a table")
    table[last] = value


def _explain(error: ValidationError, where: str) -> UsageError:
    first = error.errors()[0]
    *parents, last = map(str, first["loc"])
    if first["type"] == "extra_forbidden":
        tables: dict[str, type[BaseModel]] = {"train": Train, "claim": Claim}
        fields = tables[parents[-1]].model_fields if parents and parents[-1] in tables else Recipe.model_fields
        known = [".".join([*parents, field]) for field in fields]
        hint = f"(it is called train.{FORMER[last]} now)" if parents == ["train"] and last in FORMER else ""
        return UnknownName(f"key in recipe {where}:", ".".join([*parents, last]), known, hint=hint)
    return UsageError(f"recipe {where}: {'.'.join([*parents, last])}: {first['msg'].lower()}")
