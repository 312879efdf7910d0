"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zeuxis.cli import completing
from zeuxis.conditions import FIELDS
from zeuxis.data.unpaired_name import ARROW
from zeuxis.errors import UsageError
from zeuxis.fetching import named_by
from zeuxis.files import at_home
from zeuxis.knobs import SHORT, Sampling, parsed, split_knob
from zeuxis.spec import Size

if TYPE_CHECKING:
    from zeuxis.api.model import Model
    from zeuxis.recipe import Recipe

KNOB = "--knob"
SETTING = re.compile(r"[A-Za-z_][\w.-]*=")  # what begins as other programs have settings, without an option
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Where the random numbers start.")]
MaybeSeed = Annotated[int | None, typer.Option("--seed", min=0, help="Instead of the recipe's seed.")]
PrecisionName = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="float32|bfloat16|float16|auto",
        help="In what weights are kept and multiplied; the halves are fast where the processor has them natively, "
        "which is when auto takes bfloat16.",
    ),
]


def _device(name: str) -> str:
    """Refuse, before anything is read, a device that is not here."""
    if name == "cpu":
        return name
    from zeuxis.api.devices import checked_device

    return checked_device(name)


def writable(out: Path | None) -> Path | None:
    """The path, a ``~`` that the shell left being the home; refused, before anything is done, where it lies in a file
    or nothing may be written."""
    if out is None:
        return None
    out = at_home(out)
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if there.is_file() and there != out.absolute():
        raise UsageError(f"--out {out}: {there} is a file: give another place")
    if not os.access(there, os.W_OK):
        raise UsageError(f"--out {out}: {there} may not be written to: give another place, or change its permissions")
    return out


def folder(out: Path | None) -> Path | None:
    """As :func:`writable`, where a folder is wanted."""
    if out is not None and at_home(out).is_file():
        raise UsageError(f"--out {out} is a file, and a folder is wanted: give another name")
    return writable(out)


def only(context: typer.Context, kept: Iterable[str], why: str) -> None:
    """Refuse what was given on the command line beside the parameters ``kept``, for which there is no use ``why``."""
    given = [
        parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.name.upper()
        for parameter in context.command.params
        if parameter.name is not None
        and parameter.name not in kept
        and getattr(context.get_parameter_source(parameter.name), "name", "") == "COMMANDLINE"
    ]
    if given:
        raise UsageError(f"{' and '.join(given)}: {why}: leave {'it' if len(given) == 1 else 'them'} out")


DeviceName = Annotated[str, typer.Option("--device", callback=_device, help="cpu, cuda, cuda:1 or mps.")]
Out = Annotated[Path | None, typer.Option("--out", callback=writable, help="Where to write.", show_default=False)]
DataName = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME|FOLDER",
        help="A dataset, a world or a folder of pictures.",
        autocompletion=completing.data,
    ),
]
Pair = Annotated[
    str | None,
    typer.Option(
        "--pair",
        metavar="CHAIN",
        help='Degrade the pictures into pairs: "blur:2 | noise:0.05 | jpeg:60", edges; or take those that the data '
        "hold: layout, outlines, masks, style:flat->threed, halves, enlarge:4 (of which the sources are smaller).",
    ),
]
TURNED = "How it is drawn"
CONDITION_OPTIONS: dict[str, Any] = {  # name to option, of every field that steers a picture
    name: Annotated[
        list[str] | None,
        typer.Option(
            field.option,
            metavar=field.metavar,
            help=f"{field.meaning} Once, or once for each picture.",
            rich_help_panel="What steers a picture",
        ),
    ]
    for name, field in FIELDS.items()
}
KNOBS: dict[str, Any] = {  # name to option, of the knobs that have a flag of their own
    name: Annotated[
        str | None,
        typer.Option(f"--{name}", metavar="VALUE", help=f"{meaning[0].upper()}{meaning[1:]}.", rich_help_panel=TURNED),
    ]
    for name, meaning in SHORT.items()
}
Knobs = Annotated[
    list[str] | None,
    typer.Option(
        KNOB,
        metavar="NAME=VALUE",
        help="Any knob of the model (zeuxis info MODEL lists them); repeat.",
        rich_help_panel=TURNED,
    ),
]
PriorName = Annotated[
    str | None,
    typer.Option(
        "--prior",
        metavar="normal|gaussian|mixture|flow",
        help="What codes are drawn from, for a model that codes a picture as a vector; fitted when first asked for.",
    ),
]
PriorData = Annotated[
    str | None,
    typer.Option(
        "--prior-data", metavar="NAME|FOLDER", help="Fit the prior to codes of these pictures, not of the model's data."
    ),
]
FitText = Annotated[
    str | None,
    typer.Option(
        "--fit",
        metavar="square|crop[:ROOM]|patch[:LONGEST]|bucket[:STEP]",
        help="How a folder's pictures come to the size in training: the middle of each, a window chosen anew each "
        "epoch, such a window at the picture's own resolution, or the nearest of a few shapes.",
    ),
]
Subset = Annotated[
    int | None,
    typer.Option("--subset", min=1, help="Train on so many of the pictures, drawn once and for all, not on all."),
]
Augment = Annotated[
    str | None,
    typer.Option(
        "--augment",
        metavar="flips|turns|channels,...",
        help="How pictures are varied in training, before what degrades them: from left to right, also by quarters, "
        "red, green and blue in any order.",
    ),
]
Side = Annotated[int | None, typer.Option("--size", min=4, help="Pixels a side.")]
PictureSize = Annotated[
    str | None,
    typer.Option("--size", metavar="SIDE|WIDTHxHEIGHT", help="Pixels a side, or width and height: 32 or 32x24."),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Replace a value of the recipe; may be repeated.")
]
BudgetText = Annotated[
    str | None, typer.Option("--budget", metavar="10m|2h|500i", help="How long: seconds, minutes, hours or iterations.")
]
Iterations = Annotated[
    int | None, typer.Option("--iterations", min=1, help="How long, in iterations: the same as --budget 500i.")
]
Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="tensorboard|wandb|none",
        help="What follows the training beside its log; may be repeated. wandb sends figures and previews to a server.",
        show_default="tensorboard, where it is installed",
    ),
]
FirstStage = Annotated[
    str | None,
    typer.Option(
        "--first-stage", metavar="MODEL", help="The trained first stage of a model of latents: a name or a run folder."
    ),
]
Base = Annotated[
    str | None,
    typer.Option("--base", metavar="MODEL", help="The trained model that is built upon: a name or a run folder."),
]
ConditionName = Annotated[
    str | None,
    typer.Option(
        "--condition",
        metavar="NAME",
        help="What the model obeys: none, label, caption, layout, source, mask, as far as it can be built to; or a "
        "degradation, such as edges, whose pictures are the source.",
    ),
]

FLAGS = {  # the options that give values of a recipe, by their dotted names
    "model.first_stage": "--first-stage",
    "model.base": "--base",
    "model.condition": "--condition",
    "data": "--data",
    "size": "--size",
    "fit": "--fit",
    "subset": "--subset",
    "augment": "--augment",
    "train.batch": "--batch",
    "train.seed": "--seed",
    "train.start": "--from",
    "train.minutes": "--budget",
    "train.iterations": "--iterations",
}
UNITS = {"s": 1 / 60, "m": 1.0, "h": 60.0, "d": 1440.0}  # minutes
TIME = re.compile("".join(rf"(?:(?P<{unit}>\d+(?:\.\d+)?){unit})?" for unit in "dhms"))  # each unit once


@dataclass(frozen=True)
class Budget:
    """How long to train: a time or a number of iterations."""

    minutes: float | None = None
    iterations: int | None = None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """``90s``, ``10m``, ``2h``, ``1h30m`` or ``500i`` (``500r`` is the same)."""
        if found := re.fullmatch(r"(\d+(?:\.\d+)?)[ri]", text.strip()):
            if "." in found[1]:
                raise UsageError(f"--budget {text}: iterations are whole")
            iterations, minutes = int(found[1]), 0.0
        else:
            parts = TIME.fullmatch(text.strip())
            iterations, minutes = 0, sum(float(parts[u] or 0) * UNITS[u] for u in UNITS) if parts else 0.0
        if not iterations and not minutes:
            raise UsageError(
                f"--budget {text} is not a length of training: write 90s, 10m, 2h, 1h30m or 500i (iterations)"
            )
        return cls(iterations=iterations) if iterations else cls(minutes=minutes)


def one_budget(budget: str | None, iterations: int | None) -> str | Budget | None:
    """What ``--budget`` or ``--iterations`` says; UsageError where both do."""
    if budget is not None and iterations is not None:
        raise UsageError(f"--budget {budget} and --iterations {iterations}: give one of them")
    return budget if iterations is None else Budget(iterations=iterations)


def paired(data: str | None, pair: str | None) -> str | None:
    """The name of ``data`` degraded by ``pair``, as recipes and records spell it."""
    if pair is None:
        return data
    if data is None:
        raise UsageError(f"--pair {pair}: of which pictures? Give --data as well")
    return f"{data} | {pair}"


def collections(data: str | None, others: list[str] | None) -> str | None:
    """What ``--data A B`` names: A alone, or both as recipes and records spell two collections without pairs."""
    if not others:
        return data
    if (setting := next((each for each in others if _is_setting(each)), None)) is not None:
        raise UsageError(f"unexpected argument {setting}: a setting is given as --set {setting}, each behind its own")
    if data is None or len(others) > 1:
        stray = others[0] if data is None else others[1]
        raise UsageError(f"unexpected argument {stray}: data are one, or two without pairs (--data SOURCES PICTURES)")
    return f"{data}{ARROW}{others[0]}"


def _is_setting(word: str) -> bool:
    return SETTING.match(word) is not None and not at_home(word).exists()


def recipe_of(
    name: str | Recipe,
    *,
    data: str | None = None,
    pair: str | None = None,
    scale: int | None = None,
    size: Size | None = None,
    fit: str | None = None,
    subset: int | None = None,
    augment: str | None = None,
    batch: int | None = None,
    seed: int | None = None,
    start: str | None = None,
    budget: str | Budget | None = None,
    first_stage: str | None = None,
    base: str | None = None,
    condition: str | None = None,
    changes: list[str] | None = None,
) -> Recipe:
    """The recipe ``name``, or of a run, with what the command line changes in it; a budget replaces its own."""
    from zeuxis.api.suited import damaged_as, shown_for, size_at
    from zeuxis.recipe import Recipe, load_recipe, of_other_pictures, with_budget, with_overrides

    begun = name if isinstance(name, Recipe) else load_recipe(name)
    set_too = keys_set(changes)
    limits = budget if isinstance(budget, Budget) else Budget() if budget is None else Budget.parse(budget)
    given = {
        "model.first_stage": first_stage,
        "model.base": base,
        "model.condition": condition,
        "data": data,
        "size": size,
        "fit": fit,
        "subset": subset,
        "augment": None if augment is None else [kind.strip() for kind in augment.split(",")],
        "train.batch": batch,
        "train.seed": seed,
        "train.start": start,
    }
    for key, value in {**given, "train.minutes": limits.minutes, "train.iterations": limits.iterations}.items():
        if value is not None and key in set_too:
            raise UsageError(f"{key} is given twice, by {FLAGS[key]} and by --set: give it once")
    if condition is not None and _is_degradation(condition):
        if pair is not None:
            raise UsageError(f"--condition {condition} --pair {pair}: a degradation is the pair; give one of them")
        pair, condition = condition, "source"
    if scale is not None and pair is not None:
        raise UsageError(f"--scale {scale} --pair {pair}: write the scale in the pair, as in bicubic:{scale}")
    if pair is None and (scale is not None or data is not None):
        data = damaged_as(begun, data, scale)
    if size is None and "size" not in set_too:
        size = size_at(begun, scale)
    if fit is None and data is not None and "fit" not in set_too:
        fit = shown_for(begun, data if pair is None else f"{data} | {pair}", own_damage=pair is not None)
    given |= {"model.condition": condition, "data": data, "fit": fit, "size": size}
    # JSON's strings and numbers are TOML's too: a folder called "7" stays a folder.
    overrides = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items() if value is not None]
    overrides = [*(changes or ()), *overrides]
    recipe = with_overrides(name, overrides) if isinstance(name, Recipe) else load_recipe(name, tuple(overrides))
    if subset is None and "subset" not in set_too:
        recipe = of_other_pictures(recipe, begun)
    if pair is not None:
        recipe = recipe.model_copy(update={"data": paired(recipe.data, pair)})
    if budget is None:
        return recipe
    return with_budget(recipe, iterations=limits.iterations, minutes=limits.minutes, kept=set_too)


def keys_set(changes: list[str] | None) -> frozenset[str]:
    """The dotted names that ``--set`` gives values."""
    return frozenset(change.partition("=")[0].strip() for change in changes or ())


def as_recipes_name(recipes: Iterable[str], mend: str) -> AbstractContextManager[None]:
    """Within it the data are those that ``recipes`` name: of a file that is not the package's none are fetched.

    ``mend`` is how a user asks for them.
    """
    from zeuxis.recipe import packaged_recipes

    strange = [name for name in recipes if name not in packaged_recipes()]
    kind = "run" if strange and Path(strange[0]).is_dir() else "recipe"
    return named_by(f"the {kind} {strange[0]}", mend) if strange else nullcontext()


def _is_degradation(name: str) -> bool:
    """Whether ``name`` spells a degradation: its own name, perhaps with values after a colon."""
    if name in FIELDS or name == "none":
        return False
    from zeuxis.degrade.language import DEGRADATIONS

    return name.partition(":")[0] in DEGRADATIONS


def loaded(model: str, device: str, prior: str | None, prior_data: str | None, precision: str = "float32") -> Model:
    """The model called ``model``, with the prior over its codes that was asked for."""
    if prior_data is not None and prior is None:
        raise UsageError(f"--prior-data {prior_data}: for which prior? Give --prior as well")
    from zeuxis.api.model import load
    from zeuxis.cli.progress import Progress

    found = load(model, device, precision)
    if prior is None:
        return found
    with Progress() as progress:
        return found.with_prior(prior, prior_data, progress)


def sampling(model: Model, flags: Mapping[str, str | None], knobs: list[str] | None) -> Sampling:
    """What is asked of a model's knobs, by the flags of some and by ``--knob``, each read as the knob has it."""
    given = [(name, text) for name, text in flags.items() if text is not None]
    given += map(split_knob, knobs or ())
    return parsed(f"'{model.system.card.id}'", model.knobs, given)


def one_or_all(values: list[str] | None) -> str | list[str] | None:
    """What a repeatable option was given: a single value stands for all pictures."""
    return values[0] if values and len(values) == 1 else values or None


def steering(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a condition among the options of a command."""
    return {name: one_or_all(asked[name]) for name in FIELDS}
