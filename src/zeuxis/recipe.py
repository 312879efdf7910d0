"""Recipes: what differs from a method's defaults, the data, the budget, and the claim. Imports no torch.

A recipe is a TOML file in ``recipes/<family>/<name>.toml``, or lies with the user's own systems
(:mod:`zeuxis.plugins`). It inherits from nothing: what it does not say is the constructor's default, and an unknown
key is an error that names the nearest one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Container, Iterable, Mapping
from datetime import date, datetime, time
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from zeuxis import plugins
from zeuxis.errors import UnknownName, UsageError
from zeuxis.escaping import word
from zeuxis.files import at_home, read_text, why_no_name
from zeuxis.plugins import Place, Problem
from zeuxis.spec import LEAST_SIDE, MOST_SIDE, Augmentation, Size, in_bounds

RECIPES = Path(__file__).parent / "recipes"
MOST_RECIPE = 1 << 20  # bytes of a recipe's file
RUN = "run.json"  # in the folder of a run
MOST_SHOWN = 60  # characters of a wrong value in an error
OF_PLAYERS = ("lr", "betas", "weight_decay", "optimiser", "clip", "warmup", "decay")
WANTED = {  # what a value should be, by the kind of mistake
    "dict_type": "it is a table, so set one of its keys (zeuxis info lists them)",
    "model_type": "it is a table, so set one of its keys (zeuxis info lists them)",
    "int_parsing": "give a whole number",
    "int_type": "give a whole number",
    "int_from_float": "give a whole number",
    "float_parsing": "give a number",
    "float_type": "give a number",
    "finite_number": "give a finite number",
    "bool_parsing": "give true or false",
    "bool_type": "give true or false",
    "string_type": "give a text",
    "literal_error": "give {expected}",
    "greater_than": "give more than {gt}",
    "greater_than_equal": "give {ge} or more",
    "less_than": "give less than {lt}",
    "less_than_equal": "give {le} or less",
}
SHORT_NUMBER = r"[+-]?(\d+\.|\.\d+)([eE][+-]?\d+)?"  # numbers that TOML does not take
FORMER = {"rounds": "iterations", "max_bad_rounds": "max_bad_iterations"}  # keys of [train] in older versions


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Train(_Table):
    """How long and how. At least one of ``iterations`` and ``minutes`` bounds a game; the first reached ends it."""

    iterations: int | None = Field(
        None, ge=1, description="iterations to train; none: minutes alone end it. The first reached counts."
    )
    minutes: float | None = Field(
        None, gt=0, description="minutes of training, without previews and evaluation; none: iterations alone end it."
    )
    batch: int = Field(64, ge=1, le=1 << 20, description="examples of an iteration.")
    accumulate: int = Field(
        1,
        ge=1,
        le=1 << 20,
        description="parts that a batch is cut into, one after another, to need less memory; what compares pictures of "
        "a batch (contrastive losses, batch norm) compares those of a part.",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description='of the forward and backward passes: "float32", "bfloat16", "float16" (which scales the loss of '
        'each player), or "auto", bfloat16 where the processor has instructions that make it faster and float32 '
        "elsewhere; a run keeps what it began with. Weights and averages are kept in float32.",
    )
    channels_last: bool = Field(False, description="keep the channels last in memory: faster for some convolutions.")
    compile: bool = Field(False, description="compile the networks first: slow to start, faster afterwards.")
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay an iteration of the averaged weights, which the model has in place of the last; 0: none.",
    )
    posthoc: int = Field(
        0,
        ge=0,
        description="snapshots of power-function averages, evenly over the budget, of which zeuxis average makes a "
        "model afterwards, of as long an average as is best; 0: none.",
    )
    ema_warmup: bool = Field(True, description="whether the decay in iteration n is at most (1 + n) / (10 + n).")
    max_bad_iterations: int = Field(10, ge=0, description="non-finite steps in a row before training stops.")
    save_minutes: float = Field(2.0, gt=0, description="minutes from one checkpoint to the next.")
    preview_minutes: float = Field(1.0, gt=0, description="minutes from one preview sheet to the next.")
    keep: int = Field(2, ge=1, description="checkpoints kept, the newest.")
    seed: int = Field(
        0, ge=0, lt=2**63, description="where the random numbers start: initial weights, order of the data, noise."
    )
    start: str | None = Field(
        None,
        description="a model of the same shape whose weights training starts from; of a restorer also a published "
        "network by name or file, or another restorer, whose network alone is taken.",
    )


class Claim(_Table):
    """What ``zeuxis reproduce`` measures and the bound it must meet, on the data's test split."""

    metric: str = Field(description='what is measured: "frechet", "accuracy", "bits_per_dim", ...')
    better: Literal["lower", "higher"] = Field(description='which way is good: "lower" or "higher".')
    bound: float | None = Field(
        None, description="what the mean over the seeds must reach; none: not known yet from enough runs."
    )
    samples: int = Field(5000, ge=2, description="pictures made, or examples looked at.")
    baseline: str | None = Field(None, description="a recipe that could have won, measured likewise.")
    baseline_sample: dict[str, Any] | None = Field(
        None, description="the baseline's [sample]; none leaves it to its own recipe."
    )
    seeds: tuple[int, ...] = Field((0,), description="of the trainings, one each.")
    features: str | None = Field(
        None, description="the shipped network whose feature space is used; none takes the dataset's own."
    )
    note: str = Field("", description="what a reader of the result should know.")


class Recipe(_Table):
    """One training, wholly described."""

    name: str = Field(description="what results and run folders call it; by itself the file's name.")
    system: str = Field(description="the method: an id that zeuxis list has.")
    about: str = Field(description="one line for people.")
    data: str = Field(description="a dataset, a world or a folder of pictures, with a chain that degrades it if any.")
    size: int | tuple[int, int] | None = Field(
        None, description="pixels a side, or [height, width], that pictures are brought to; none keeps the data's own."
    )
    fit: str = Field(
        "square",
        description='how pictures of mixed shapes come to that size in training: "square" (the middle), "crop" (a '
        'window, chosen anew each epoch), "patch" (such a window at their own resolution) or "bucket" (the nearest of '
        "a few shapes).",
    )
    subset: int | None = Field(
        None, ge=1, description="training pictures used, drawn once and for all of those there are; none: all."
    )
    augment: tuple[Augmentation, ...] = Field(
        (),
        description='how pictures are varied in training, anew each epoch and before what degrades them: "flips" (from '
        'left to right), "turns" (also by quarters), "channels" (red, green and blue in any order).',
    )
    model: dict[str, Any] = Field({}, description="constructor keywords that differ from the defaults.")
    tiny: dict[str, Any] = Field({}, description="more of [model], for the smallest instance, which tests build.")
    players: dict[str, dict[str, Any]] = Field({}, description="fields of Player to replace, by player.")
    train: Train = Field(Train.model_construct(), description="how long and how.")
    sample: dict[str, Any] = Field({}, description="knobs that evaluation and previews turn.")
    claim: Claim | None = Field(None, description="what is measured and must be reached.")
    counts: dict[str, int] = Field({}, description="parameters of each network at this size, which a test checks.")

    @field_validator("name")
    @classmethod
    def _of_a_file(cls, name: str) -> str:
        why = why_no_name(name)
        if why is not None:  # results and run folders are called so
            raise ValueError(why)
        return name

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
    path = known.get(str(name), at_home(name))
    if str(name) not in known and (path / RUN).is_file():
        raise UsageError(
            f"{name} is a run, which was trained by a recipe and is none: measure it with zeuxis evaluate "
            f"{word(str(name))}, train it further with zeuxis resume {word(str(name))}, or give a recipe"
        )
    if str(name) not in known and (path.suffix.lower() != ".toml" or not path.is_file()):
        raise UnknownName("recipe", str(name), known, "(or give the path of a .toml file)", elsewhere="recipe file")
    return _read(path, str(name), overrides)


def recipe_systems() -> dict[str, str]:
    """The system of every recipe, by the recipe's own name; of the package's files only the head is read, for speed."""
    found = {}
    for name, path in recipe_paths().items():
        text = read_text(path, MOST_RECIPE)
        head = text.partition("\n[")[0] if name in packaged_recipes() else text  # what stands before the tables
        table = tomllib.loads(head)
        found[table.get("name", path.stem)] = table["system"]
    return found


def replaced(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """``recipe`` with other values by dotted name, ``{"train.seed": 3}``; :class:`UsageError` for an unknown key or a
    value that it cannot have."""
    table = recipe.model_dump(exclude_unset=True)
    for key, value in values.items():
        put(table, key, value)
    return parse_recipe(table, recipe.name)


def of_other_pictures(recipe: Recipe, begun: Recipe) -> Recipe:
    """``recipe``, which was ``begun``, without a subset where its data are others: it was meant of those."""
    same = recipe.data.partition("|")[0].strip() == begun.data.partition("|")[0].strip()
    return recipe if same else recipe.model_copy(update={"subset": None})


def with_budget(
    recipe: Recipe, *, iterations: int | None, minutes: float | None, kept: Container[str] = frozenset()
) -> Recipe:
    """``recipe`` with that budget in place of its own; bounds whose dotted names are ``kept`` stay beside it, and the
    first reached ends the training."""
    budget = {"train.iterations": iterations, "train.minutes": minutes}
    return replaced(recipe, {key: value for key, value in budget.items() if value is not None or key not in kept})


def with_overrides(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """``recipe`` with dotted overrides such as ``train.batch=32``; :class:`UsageError` for an unknown key or value."""
    table = recipe.model_dump(mode="json")
    for override in overrides:
        _apply(table, override)
    return parse_recipe(table, recipe.name)


def _read(path: Path, where: str, overrides: tuple[str, ...] = ()) -> Recipe:
    try:
        table = tomllib.loads(read_text(path, MOST_RECIPE))
    except UnicodeDecodeError as error:
        raise UsageError(f"recipe {path} is no text in UTF-8 ({error.reason}): save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"recipe {path} is not valid TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"recipe {path} cannot be read: {error.strerror}") from None
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
    """Set ``a.b.c=value`` in ``table``."""
    key, equals, text = override.partition("=")
    if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key.strip()):
        raise UsageError(f"override '{override}' is not of the form a.b=value, e.g. players.critic.lr=1e-4")
    put(table, key.strip(), value_of(text))


def value_of(text: str) -> Any:
    """What a user wrote after ``a.b=``: a value of TOML, or a number as ``.5`` and ``1.``, or else a plain text.

    So is a date (no recipe has one, and folders are called so), and what TOML would read as more than one value.
    """
    plain = text.strip()
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return float(plain) if re.fullmatch(SHORT_NUMBER, plain) else plain
    value = table["value"]
    return plain if len(table) > 1 or isinstance(value, (datetime, date, time)) else value


def put(table: dict[str, Any], key: str, value: Any) -> None:
    """Set the dotted ``key`` of a recipe's table; UsageError where it leads through a value."""
    *parents, last = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise UsageError(f"override '{key}': '{parent}' is a value, not a table")
    table[last] = value


def _explain(error: ValidationError, where: str) -> UsageError:
    first = error.errors()[0]
    if (
        first["loc"][:1] == ("size",) and first["type"] != "value_error"
    ):  # which may be of two kinds, and would be told of each
        return UsageError(
            f"recipe {where}: size is not pixels a side, such as 32, nor [height, width], such as [24, 32]"
        )
    *parents, last = map(str, first["loc"])
    if first["type"] == "extra_forbidden":
        tables: dict[str, type[BaseModel]] = {"train": Train, "claim": Claim}
        fields = tables[parents[-1]].model_fields if parents and parents[-1] in tables else Recipe.model_fields
        known = [".".join([*parents, field]) for field in fields]
        hint = f"(it is called train.{FORMER[last]} now)" if parents == ["train"] and last in FORMER else ""
        if not parents and last in Train.model_fields:
            hint = f"(it is train.{last})"
        if not parents and last in OF_PLAYERS:
            hint = f"(it is players.NAME.{last}, of a player that zeuxis info lists)"
        if not parents and not hint:
            hint = f"(of the method's own keys it would be model.{last})"
        return UnknownName(f"key in recipe {where}:", ".".join([*parents, last]), known, hint=hint)
    key, kind, context = ".".join([*parents, last]), first["type"], first.get("ctx", {})
    if kind == "missing":
        return UsageError(f"recipe {where} has no {key}: add it")
    wanted = WANTED[kind].format(**context) if kind in WANTED else str(first["msg"])
    given = repr(first["input"])
    given = given if len(given) <= MOST_SHOWN else f"{given[:MOST_SHOWN]}..."
    return UsageError(f"recipe {where}: {key} is {given}: {wanted.removeprefix('Value error, ')}")
