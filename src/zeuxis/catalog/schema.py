"""The keys of a recipe: what each is, is by default, and means. Read as text, so that no torch is imported.

A ``[model]`` key is a keyword of the system's constructor, and its meaning an entry under ``Args:`` in the class's
docstring (:mod:`zeuxis.catalog.signatures`); of those in :data:`COMMON` and of knobs no entry is needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from zeuxis.catalog.listing import Entry, entry
from zeuxis.catalog.signatures import ROOT, Argument, Arguments, Expression, constructor, fields, table_keys
from zeuxis.errors import UnknownName, UsageError
from zeuxis.knobs import Knob, checked
from zeuxis.recipe import Claim, Recipe, Train
from zeuxis.spec import DataSpec

FACTS = frozenset({f.name for f in dataclasses.fields(DataSpec)} | {"classes"})  # what the data say, never a recipe
COMMON = {
    "lr": "learning rate of every player, where [players.NAME] gives it no other.",
    "condition": 'what it obeys: "none", or "label" (of data with classes).',
}
TABLES = ("model", "players", "train", "sample", "claim")  # of a recipe: sections of their own
NOT_REPLACED = frozenset({"name", "nets", "groups"})  # fields of Player that no recipe replaces


@dataclass(frozen=True)
class Key:
    """One key of a recipe. One that is ``required`` has no default."""

    name: str  # dotted, as --set takes it
    value: Any
    default: Any
    meaning: str
    required: bool = False

    @property
    def changed(self) -> bool:
        """Whether the recipe says something else than the default, if there is one."""
        return not self.required and _plain(self.value) != _plain(self.default)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "value": _plain(self.value),
            "default": _plain(self.default),
            "required": self.required,
            "changed": self.changed,
            "meaning": self.meaning,
        }


@dataclass(frozen=True)
class Section:
    """The keys of one table of a recipe; ``name`` is "" for those at its top."""

    name: str
    keys: tuple[Key, ...]
    note: str = ""


def sections(recipe: Recipe) -> list[Section]:
    """Every key of ``recipe``, table by table.

    Raises :class:`UnknownName` for a key of ``[model]``, or of a table in it, that the system does not take, and as
    :func:`zeuxis.knobs.checked` for ``[sample]``.
    """
    known = entry(recipe.system)
    return [
        Section("", tuple(_fields(Recipe, recipe, skip=TABLES))),
        *model_sections(known, recipe.model),
        _players(recipe),
        Section("train", tuple(_fields(Train, recipe.train, "train."))),
        _sample(known, recipe),
        Section("claim", tuple(_fields(Claim, recipe.claim, "claim.")), "" if recipe.claim else "nothing is claimed"),
    ]


def model_arguments(known: Entry) -> Arguments:
    """The ``[model]`` keys of a system, in the constructor's order."""
    knobs = known.card.knob_table
    return {
        name: argument if argument.meaning else dataclasses.replace(argument, meaning=_common(name, knobs))
        for name, argument in constructor(known.path, known.class_name).items()
        if name not in FACTS
    }


def knobs_of(known: Entry, model: Mapping[str, Any]) -> dict[str, Knob]:
    """The knobs of a system that is built with ``model``, with their defaults."""
    built = {name: argument.default for name, argument in constructor(known.path, known.class_name).items()}
    return known.card.knobs_as_built({**built, **model})


def model_sections(known: Entry, model: Mapping[str, Any]) -> list[Section]:
    """``[model]`` and the tables in it, where a recipe has ``model``."""
    arguments = model_arguments(known)
    found = [Section("model", tuple(_keys("model", arguments, model, f"'{known.card.id}'")))]
    for name, argument in arguments.items():
        if argument.table is None:
            continue
        table, where = model.get(name) or {}, f"model.{name}"
        if not isinstance(table, Mapping):
            raise UsageError(f"{where} is a table, not '{table}': write {where}.KEY = ...")
        keys = table_keys(known.path, argument.table, table)
        found.append(Section(where, tuple(_keys(where, keys, table, f"'{known.card.id}'"))))
    return found


def _common(name: str, knobs: Mapping[str, Knob]) -> str:
    """What a keyword means that the docstring does not explain."""
    if name in knobs:
        return f"default of the knob: {knobs[name].meaning}."
    return COMMON.get(name, "")


def _keys(where: str, arguments: Arguments, table: Mapping[str, Any], owner: str) -> Iterator[Key]:
    for key in table:
        if key not in arguments:
            raise UnknownName(f"key of [{where}] for {owner}:", key, arguments)
    for name, argument in arguments.items():
        value = _below(argument) if argument.table else table.get(name, argument.default)
        yield Key(f"{where}.{name}", value, _default(argument), argument.meaning, argument.required)


def _below(argument: Argument) -> Expression:
    return Expression(f"[model.{argument.name}]")


def _default(argument: Argument) -> Any:
    return _below(argument) if argument.table else argument.default


def _fields(
    kind: type[BaseModel], table: BaseModel | None, prefix: str = "", skip: tuple[str, ...] = ()
) -> Iterator[Key]:
    """The fields of a table that a class describes; without a ``table`` all are as by default."""
    for name, field in kind.model_fields.items():
        if name not in skip:
            required = field.is_required()
            default = None if required else field.get_default()
            value = default if table is None else getattr(table, name)
            yield Key(prefix + name, value, default, field.description or "", required)


def _players(recipe: Recipe) -> Section:
    """What a recipe may replace in each player. The system's own values are known only once it is built."""
    own = Expression("the system's")
    replaceable = [f for name, f in fields(ROOT / "game.py", "Player").items() if name not in NOT_REPLACED]
    keys = []
    for field in replaceable:
        replaced = {player: table[field.name] for player, table in recipe.players.items() if field.name in table}
        keys.append(Key(f"players.NAME.{field.name}", replaced or own, own, field.meaning))
    for player, table in recipe.players.items():
        for key in table:
            if key not in {field.name for field in replaceable}:
                raise UnknownName(f"key of players.{player}:", key, [field.name for field in replaceable])
    return Section("players.NAME", tuple(keys), "the players and what else they have: zeuxis train --dry-run")


def _sample(known: Entry, recipe: Recipe) -> Section:
    knobs = knobs_of(known, recipe.model)
    asked = checked(f"'{known.card.id}' ([sample] of recipe '{recipe.name}')", knobs, recipe.sample)
    keys = (
        Key(f"sample.{name}", asked.get(name, knob.default), knob.default, f"{knob.meaning}; {knob.range}.")
        for name, knob in knobs.items()
    )
    return Section("sample", tuple(keys), "" if knobs else "this method has no knobs")


def _plain(value: Any) -> Any:
    """Tuples and lists alike, and tables within them."""
    match value:
        case list() | tuple():
            return [_plain(item) for item in value]
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case _:
            return value


def toml(value: Any) -> str:
    """A plain value as TOML spells it; ``none`` for None, which TOML leaves out."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}" if "." in f"{value:.6g}" or "e" in f"{value:.6g}" else f"{value:.1f}"
        case Expression():
            return str(value)
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case list() | tuple():
            return "[" + ", ".join(map(toml, value)) + "]"
        case Mapping():
            return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }" if value else "{}"
        case _:
            return str(value)
