"""A run laid aside: moved out of the folder of the runs, where nothing is at it and nothing is built upon it.

Hours of training are not deleted by a click: the run lies in the folder :data:`ASIDE` of the service, from where it can
be moved back, until somebody deletes it. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from zeuxis.errors import RunInUse, UsageError, ZeuxisError, mend_of
from zeuxis.studio.folders import Folders
from zeuxis.studio.models import known_models
from zeuxis.studio.queue import Job, JobQueue, State
from zeuxis.studio.run_files import RunFiles, known_runs, run_called
from zeuxis.training.run_lock import move_run

ASIDE = "removed"  # in the service's folder
OF_A_RUN = frozenset(("train", "evaluate", "diagnose"))  # kinds of jobs that go with it
GOING: tuple[State, ...] = ("queued", "running")
MOST_JOBS = 100_000


def lay_aside(name: str, folders: Folders, queue: JobQueue) -> Path:
    """Move the run ``name`` into the folder of what was removed, and forget its jobs; where it lies now.

    Raises :class:`UnknownName` where there is no such run; :class:`UsageError` where it is trained, a job works with
    it, or others are built upon it.
    """
    one = run_called(name, folders.runs)
    if one.is_training:
        raise UsageError(f"{name} is being trained: stop it first")
    for state in GOING:
        for job in queue.newest(MOST_JOBS, state=state):
            if _names(job.request, one.folder):
                raise UsageError(f"job {job.id} ({job.kind}) works with {name}, or waits for it: cancel it first")
    upon = built_upon(one, folders.runs)
    if upon:
        raise UsageError(f"{', '.join(upon)} {'is' if len(upon) == 1 else 'are'} built upon {name}, and would not load "
                         "without it: remove what is built upon it first")  # fmt: skip
    kept = _free(folders.home / ASIDE, name)
    kept.parent.mkdir(exist_ok=True)
    try:
        move_run(one.folder, kept)
    except RunInUse:
        raise UsageError(f"{name} is being trained: stop it first") from None
    except OSError as error:
        mend = mend_of(error, "move it yourself")
        raise ZeuxisError(f"cannot move {one.folder} to {kept}: {error.strerror}; {mend}") from None
    for job in queue.newest(MOST_JOBS):
        if _is_of(job, name) and queue.remove(job.id):
            folders.forget(job.id)
    return kept


def _free(folder: Path, name: str) -> Path:
    """A place for what is called ``name``: others of that name may have been removed before."""
    names = (name if k == 1 else f"{name}-{k}" for k in count(1))
    return next(place for each in names if not (place := folder / each).exists())


def _is_of(job: Job, name: str) -> bool:
    return job.kind in OF_A_RUN and job.request.get("folder") == name


def _names(request: dict[str, Any], folder: Path) -> bool:
    """Whether a request names a run: as what it trains, draws with, or starts from."""
    said = [request.get("folder"), request.get("model"), request.get("start"), *request.get("set", {}).values()]
    return folder.name in said or str(folder) in (request.get("path"), request.get("start_path"))


def built_upon(one: RunFiles, runs: Path) -> list[str]:
    """Names of what cannot be loaded, or gone on with, without a run: by their recipes and by their cards."""
    named = {name: list(_texts(run.recipe.model)) for name, run in known_runs(runs).items()}
    for name, model in known_models(runs).items():
        if model.origin == "run":
            folder = Path(model.path) / "model"
            folder = folder if folder.is_dir() else Path(model.path)
            named[name] = [*named.get(name, []), *_given(model.card.get("config", {}), folder)]
    return sorted(
        name for name, places in named.items() if name != one.name and any(_leads_to(p, one.folder) for p in places)
    )


def _texts(value: Any) -> Iterator[str]:
    """Every text in a table of a recipe: among them the models that it names."""
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from _texts(each)
        case list() | tuple():
            for each in value:
                yield from _texts(each)


def _given(value: Any, model: Path) -> Iterator[str]:
    """Where the models are kept that a card says its system was given; ``near`` is as seen from the card."""
    match value:
        case {"given": {"model": str() as kept, **more}}:
            yield kept
            if isinstance(near := more.get("near"), str):
                yield str(model / near)
        case dict():
            for each in value.values():
                yield from _given(each, model)
        case list():
            for each in value:
                yield from _given(each, model)


def _leads_to(place: str, folder: Path) -> bool:
    """Whether a path is the run folder, or lies in it."""
    try:
        return Path(place).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # no name of a file
        return False
