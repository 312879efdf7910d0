"""Recipes: what differs from a method's defaults, the data, the budget, and the claim. Imports no torch.

A recipe is a TOML file in ``recipes/<family>/<name>.toml``. It inherits from nothing: what it does
not say is the constructor's default, and an unknown key is an error that names the nearest one.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from zeuxis.errors import UnknownName, UsageError
from zeuxis.spec import LEAST_SIDE, MOST_SIDE, Size, in_bounds

RECIPES = Path(__file__).parent / "recipes"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Train(_Table):
    """How long and how. At least one of ``rounds`` and ``minutes`` bounds a game; the first reached ends it."""

    rounds: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0)  # of training, previews and evaluation not counted
    batch: int = Field(64, ge=1)
    accumulate: int = Field(1, ge=1)  # parts that a batch is cut into, for memory
    precision: Literal["float32", "bfloat16", "float16"] = "float32"  # float16 scales the loss of each player
    channels_last: bool = False
    compile: bool = False
    ema: float = Field(0.0, ge=0, lt=1)  # decay a round of the averaged weights; 0 keeps no average
    ema_warmup: bool = True  # decay = min(ema, (1 + n) / (10 + n)) in round n
    max_bad_rounds: int = Field(10, ge=0)  # non-finite steps in a row before training stops
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


@cache
def recipe_paths() -> dict[str, Path]:
    """Every packaged recipe, by name."""
    return {p.stem: p for p in sorted(RECIPES.glob("*/*.toml"))}


def load_recipe(name: str | Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """The recipe called ``name`` (or at that path), with dotted overrides such as ``train.batch=32``.

    Raises :class:`UsageError` for an unknown recipe, key or value.
    """
    path = recipe_paths().get(str(name))
    if path is None:
        path = Path(name)
        if path.suffix != ".toml" or not path.is_file():
            raise UnknownName("recipe", str(name), recipe_paths(), hint="(or give the path of a .toml file)")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path} is not valid TOML: {error}") from None
    for override in overrides:
        _apply(table, override)
    return parse_recipe({"name": path.stem, **table}, where=str(name))


def parse_recipe(table: dict[str, Any], where: str) -> Recipe:
    """A recipe from its table; ``where`` names it in errors."""
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise _explain(error, where) from None


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
        return UnknownName(f"key in recipe {where}:", ".".join([*parents, last]), known)
    return UsageError(f"recipe {where}: {'.'.join([*parents, last])}: {first['msg'].lower()}")
