"""Trainings that are asked for, checked before they wait: recipe, data, changes, the run's name. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zeuxis.api.naming import slug
from zeuxis.catalog.schema import sections
from zeuxis.data.entries import ENTRIES, not_here
from zeuxis.data.published import PUBLISHED
from zeuxis.errors import UnknownName, UsageError, lookup
from zeuxis.escaping import word
from zeuxis.files import why_no_name
from zeuxis.recipe import Recipe, load_recipe, parse_recipe, put, recipe_paths
from zeuxis.studio.datasets import Datasets
from zeuxis.studio.folders import FOLDER, Folders
from zeuxis.studio.models import model_called
from zeuxis.studio.queue import JobQueue
from zeuxis.studio.requests import DiagnoseJob, EvaluateJob, TrainJob
from zeuxis.studio.run_files import run_called

MOST_JOBS = 100_000  # that names of runs are looked for in
PLAIN_KEYS = ("fit", "subset")  # of a recipe, beside those of its tables
CHANGED = ("model", "players", "sample", "train")  # tables of a recipe whose values a request may replace
APART = {  # what is asked for by a name of its own, or not at all
    "train.iterations": "iterations",
    "train.batch": "batch",
    "train.seed": "seed",
    "train.start": "start",
    "train.minutes": "iterations",
}
PLAIN = re.compile(r"[\w.+-]{1,50}")  # texts that lead nowhere
CUT = 60  # characters of a name that is made of others


def check_training(asked: TrainJob, request: dict[str, Any], folders: Folders, queue: JobQueue) -> None:
    """Check a training; what is settled goes into the request: the run's ``folder``, the ``settings``, the data's
    path. Raises :class:`UsageError`."""
    check_changes(asked.set)
    if asked.run is not None:
        found = run_called(asked.run, folders.runs)
        request["folder"], base = found.name, found.recipe
        if asked.set or asked.batch:
            _check_values(base, asked)
        if asked.iterations is not None and asked.iterations <= (done := found.progress()[0]):
            raise UsageError(f"{found.name} has {done:,} iterations already: ask for more than that")
        request["of"] = asked.iterations or base.train.iterations
        request["trains"] = base.name
        _check_measured(asked, base)
        return
    assert asked.recipe is not None  # one of them is given
    lookup("recipe", asked.recipe, recipe_paths())
    recipe = load_recipe(asked.recipe)
    request["data_path"], told = _data_of(asked, recipe, folders)
    request["start_path"] = None if asked.start is None else _start(asked.start, folders)
    _check_values(recipe, asked)
    _check_measured(asked, recipe)
    request["of"] = asked.iterations or recipe.train.iterations
    request["trains"] = recipe.name
    taken = {job.request["folder"] for job in queue.newest(MOST_JOBS, kind="train")}
    request["folder"] = _new_name(asked, recipe, told, folders.runs, taken)


def _check_measured(asked: TrainJob, recipe: Recipe) -> None:
    if asked.measure and recipe.claim is None:
        raise UsageError(f"recipe '{recipe.name}' claims no figure that could be measured: leave measure out")


def check_evaluation(asked: EvaluateJob, request: dict[str, Any], folders: Folders) -> None:
    """Check a measurement of a run's claim."""
    found = run_called(asked.run, folders.runs)
    if found.recipe.claim is None:
        raise UsageError(
            f"the recipe of {found.name} claims no figure: zeuxis evaluate {word(found.folder)} measures what suits it"
        )
    if not found.has_model:
        raise UsageError(f"{found.name} has no model yet: train it first")
    request["folder"] = found.name


def check_diagnosis(asked: DiagnoseJob, request: dict[str, Any], folders: Folders) -> None:
    """Check a diagnosis."""
    request["folder"] = run_called(asked.run, folders.runs).name


def check_changes(changes: Mapping[str, Any]) -> None:
    """Refuse a key that is asked for otherwise, and a text that might be a path."""
    for key, value in changes.items():
        if key in APART:
            raise UsageError(f"set {key}: give it as {APART[key]}")
        if not is_changeable(key):
            tables = ", ".join(f"{table}.KEY" for table in CHANGED)
            raise UsageError(f"set {key}: what can be replaced is {', '.join(PLAIN_KEYS)}, {tables}")
        if isinstance(value, str) and (PLAIN.fullmatch(value) is None or why_no_name(value) is not None):
            raise UsageError(f"set {key}: give a number, true, false, or a name of letters, digits, '.', '_', '+', '-'")


def is_changeable(key: str) -> bool:
    """Whether ``set`` may replace a value of a recipe, by its dotted name."""
    return key in PLAIN_KEYS or (key.partition(".")[0] in CHANGED and key not in APART)


def _check_values(recipe: Recipe, asked: TrainJob) -> None:
    """Refuse what the command line would refuse of the same changes."""
    table = recipe.model_dump(exclude_unset=True)
    given = {"size": asked.size, "train.batch": asked.batch, "train.seed": asked.seed}
    for key, value in [*asked.set.items(), *((key, value) for key, value in given.items() if value is not None)]:
        put(table, key, value)
    sections(parse_recipe(table, recipe.name))


def _data_of(asked: TrainJob, recipe: Recipe, folders: Folders) -> tuple[str | None, str | None]:
    """The name or the folder of the data that are given, and what the run's name says of them; None of the recipe's."""
    if asked.dataset is not None:
        found = Datasets(folders.home).called(asked.dataset)
        if found.count == 0:
            raise UsageError(f"the data set '{found.title}' holds no pictures yet: give it some")
        return str(found.folder), found.title
    if asked.data is None:
        check_here(recipe.data)
        return None, None
    if asked.data not in ENTRIES and asked.data not in PUBLISHED:
        raise UnknownName("data", asked.data, [*ENTRIES, *PUBLISHED], "(GET /api/data lists them)")
    check_here(asked.data)
    return asked.data, asked.data


def check_here(data: str) -> None:
    """Refuse data that would have to be fetched: the service asks no network."""
    for name in not_here(data):
        command = f"zeuxis data {name}{' --fetch' if name in PUBLISHED else ''}"
        raise UsageError(f"'{name}' is not on this machine, and the service fetches nothing: {command} gets it, once")


def _start(name: str, folders: Folders) -> str:
    known = model_called(name, folders.runs)
    if known.origin == "generator":
        raise UsageError(f"'{name}' is computed and has no weights to start from: name a run or a shipped model")
    return known.path


def _new_name(asked: TrainJob, recipe: Recipe, data: str | None, runs: Path, taken: set[str]) -> str:
    """The name of a new run: the one that is asked for, if it is free, or the next number."""
    there = {path.name for path in runs.iterdir()}
    if asked.name is not None:
        if (why := why_no_name(asked.name)) is not None:
            raise UsageError(f"name {asked.name!r}: {why}")
        if asked.name in there | taken or asked.name.lower() == FOLDER:
            raise UsageError(f"there is a run called '{asked.name}': choose another name, or go on with that one")
        return asked.name
    numbers = [int(name.partition("-")[0]) for name in there | taken if re.fullmatch(r"\d{1,9}-.*", name)]
    of = slug(data or Path(recipe.data).name or recipe.data)[:CUT].strip(".-")
    return f"{1 + max(numbers, default=-1):05d}-{slug(recipe.name)[: CUT - 30]}{'-' if of else ''}{of}"


def last_jobs(queue: JobQueue) -> dict[str, str]:
    """The newest training of each run, by the name of the run: the id of its job."""
    found: dict[str, str] = {}
    for job in queue.newest(MOST_JOBS, kind="train"):
        found.setdefault(str(job.request["folder"]), job.id)
    return found
