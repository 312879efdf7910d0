"""What the process of a training does for each kind of job: a call of the library, and what is told of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zeuxis.api.devices import checked_device
from zeuxis.api.exercise import exercise_of, verdict
from zeuxis.api.functions import train
from zeuxis.api.going_on import run_of
from zeuxis.api.reproduce import claim_of, holds, measured
from zeuxis.api.runs import StopTraining
from zeuxis.catalog.build import given_models
from zeuxis.errors import UsageError
from zeuxis.fetching import named_by
from zeuxis.recipe import Recipe, load_recipe, parse_recipe, put, recipe_paths
from zeuxis.studio.commands import evaluate_command, train_command
from zeuxis.studio.models import model_called
from zeuxis.studio.progress import JobsCancelled, ShuttingDown
from zeuxis.studio.task_context import TaskContext, picture_entry
from zeuxis.training.trainer import Clock


def trained(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis train``: its newest preview, and how it went. Raises :class:`JobsCancelled` where it was stopped."""
    folder = context.folders.runs / request["folder"]
    settings = _settings(request, context)
    begun = _recipe(request, folder)
    options = {
        "data": request.get("data_path"),
        "size": request["size"],
        "iterations": request["iterations"],
        "batch": request["batch"],
        "seed": request["seed"],
        "device": None if (device := checked_device(context.models.device)) == "cpu" else device,
    }
    lines: list[str] = []

    def report(clock: Clock, preview: Path | None) -> None:
        try:
            context.progress(_message(clock, request["of"]), clock.progress)
        except (JobsCancelled, ShuttingDown):
            raise StopTraining from None

    start = request.get("start_path")
    names = begun.data if options["data"] is None else options["data"]
    with named_by("the training", f"zeuxis data {names!r}, at a terminal, gets it once"):
        run = train(
            request["recipe"] if request["run"] is None else folder,
            **{key: value for key, value in options.items() if value is not None},
            settings={**settings, **({} if start is None else {"train.start": start})},
            out=folder,
            callbacks=[report],
            quiet=True,
            tell=lines.append,
        )
    if run.stopped:
        raise JobsCancelled
    preview = run.preview
    if preview is not None:
        shutil.copyfile(preview, context.draft / "0000.png")
    what = request["recipe"] if request["run"] is None else str(folder)
    out = None if request["run"] is not None else str(folder)
    fit = {"fit": settings.pop("fit")} if "fit" in settings else {}
    command = train_command(what, out, settings, {**options, **fit}, start)
    facts = {"run": request["folder"], "iterations": run.clock.round, "seconds": run.clock.seconds}
    if request["measure"]:
        measuring, figures = _measured(folder, context)
        command, facts = f"{command} && {measuring}", facts | figures
    return {
        "pictures": [] if preview is None else [picture_entry(context, context.draft / "0000.png")],
        "command": command,
        "notes": list(dict.fromkeys([*lines, *run.notes])),
        "facts": facts,
    }


def evaluated(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis evaluate`` with what the run's recipe claims: the figure, and how it stands to what is expected."""
    command, facts = _measured(context.folders.runs / request["folder"], context)
    return {"pictures": [], "command": command, "notes": [], "facts": facts}


def _measured(folder: Path, context: TaskContext) -> tuple[str, dict[str, Any]]:
    """The claim of the run in ``folder``, measured: the command that does so, and the facts."""
    recipe = run_of(folder).recipe
    claim = claim_of(recipe)
    context.progress(f"loading {folder.name}", 0.0)
    model = context.models.get(str(folder))
    with named_by("the run", f"zeuxis data {recipe.data!r}, at a terminal, gets it once"):
        found = measured(model, recipe, claim, context.progress)
    value = float(found["value"])
    exercise = exercise_of(load_recipe(recipe.name)) if recipe.name in recipe_paths() else None
    whole = claim.metric.split("/")[0]
    facts = {
        "run": folder.name,
        "metric": claim.metric,
        "better": claim.better,
        "value": value,
        "bound": claim.bound,
        "meets": holds(value, claim, None),
        "samples": claim.samples,
        "figures": {figure["name"]: figure["value"] for figure in found["figures"]},
        "verdict": verdict(exercise, recipe, value),
    }
    return evaluate_command(str(folder), whole, claim.samples, claim.features, recipe.sample), facts


TRAINING_TASKS: Mapping[str, Callable[[Mapping[str, Any], TaskContext], dict[str, Any]]] = {
    "train": trained,
    "evaluate": evaluated,
}


def _recipe(request: Mapping[str, Any], folder: Path) -> Recipe:
    return load_recipe(request["recipe"]) if request["run"] is None else run_of(folder).recipe


def _settings(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """The changes to the recipe; a trained model among them, which has a name there, by its path."""
    settings = dict(request["set"])
    if not settings:
        return settings
    base = _recipe(request, context.folders.runs / request["folder"])
    table = base.model_dump(exclude_unset=True)
    for key, value in settings.items():
        put(table, key, value)
    given = {f"model.{keyword}": name for keyword, name in given_models(parse_recipe(table, base.name)).items()}
    for key, value in settings.items():
        if key in given:
            known = model_called(given[key], context.folders.runs)
            if known.origin == "generator":
                raise UsageError(f"set {key}: '{value}' is computed and has no weights: name a run or a shipped model")
            settings[key] = known.path
        elif isinstance(value, str) and Path(value).exists():  # what builds the system might open it
            raise UsageError(f"set {key}: '{value}' is a file or a folder here, and paths are not taken: train it at a "
                             "terminal, or serve from another folder")  # fmt: skip
    return settings


def _message(clock: Clock, of: int | None) -> str:
    """``iteration 120 of 1,500, 3 min left``."""
    done = f"iteration {clock.round:,}{'' if of is None else f' of {of:,}'}"
    return done if clock.remaining is None or clock.progress >= 1 else f"{done}, {time_left(clock.remaining)} left"


def time_left(seconds: float) -> str:
    """``40 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
