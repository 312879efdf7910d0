"""Runs over HTTP: how far each is, its curves and previews, and whether it learns, in words. Imports no torch."""

from __future__ import annotations

import shlex
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.params import Path as InPath
from fastapi.responses import FileResponse
from pydantic import BaseModel

from zeuxis.api.learning import Answer, is_learning
from zeuxis.recipe import Claim
from zeuxis.studio.datasets import Datasets
from zeuxis.studio.folders import FOLDER, Folders
from zeuxis.studio.removal import lay_aside
from zeuxis.studio.run_files import RunFiles, known_runs, run_called
from zeuxis.studio.service import Service, TheService
from zeuxis.studio.training_requests import last_jobs

routes = APIRouter(prefix="/api/runs", tags=["runs"])
AnyName = Annotated[str, InPath(max_length=200)]
MOST_EVENTS = 50  # the newest lines of a log in words


class RunResponse(BaseModel):
    """A run: what it trains, how far it is (of ``iterations``, where its budget is that), and its newest training.

    ``job`` is the id of the service's newest job that trained it; ``command`` goes on with it at a terminal.
    """

    name: str
    recipe: str
    system: str
    data: str
    done: int
    iterations: int | None
    minutes: float | None
    seconds: float
    training: bool
    finished: bool
    model: bool
    claims: bool
    job: str | None
    command: str


class LearningResponse(BaseModel):
    """Is it learning? The answer, and its reason in one sentence."""

    answer: Answer
    reason: str


class PreviewResponse(BaseModel):
    """A sheet of what the model made after so many iterations, always of the same seeds."""

    file: str
    url: str
    iteration: int


class RunDetailResponse(RunResponse):
    """A run with its curves' names, its previews, what its log says in words, and whether it learns."""

    about: str
    claim: Claim | None
    columns: list[str]
    previews: list[PreviewResponse]
    events: list[tuple[int, str]]
    learning: LearningResponse


class CurvesResponse(BaseModel):
    """The figures of a log by name, each as (iteration, value), thinned to three hundred points."""

    curves: dict[str, list[tuple[int, float]]]


class RemovedResponse(BaseModel):
    """A run that was laid aside: where it lies until somebody deletes it, and the command that brings it back."""

    name: str
    kept: str
    back: str


@routes.get("")
def runs(service: TheService) -> list[RunResponse]:
    """Every run in the folder, the newest first."""
    jobs = last_jobs(service.queue)
    return [
        RunResponse.model_validate(_facts(one, service.folders, jobs))
        for one in sorted(known_runs(service.runs).values(), key=lambda one: one.changed, reverse=True)
    ]


@routes.get("/{name}")
def run(service: TheService, name: AnyName) -> RunDetailResponse:
    """One of them."""
    return _detail(run_called(name, service.runs), service)


@routes.delete("/{name}")
def remove(service: TheService, name: AnyName) -> RemovedResponse:
    """Lay a run aside, with its jobs; not one that is trained, that a job works with, or that others are built upon."""
    kept = lay_aside(name, service.folders, service.queue)
    return RemovedResponse(name=name, kept=str(kept), back=shlex.join(["mv", str(kept), str(service.runs / name)]))


@routes.get("/{name}/curves")
def curves(service: TheService, name: AnyName) -> CurvesResponse:
    """Its losses, those on held-out pictures, the norms of its gradients and what else its log holds."""
    return CurvesResponse(curves=run_called(name, service.runs).curves())


@routes.get("/{name}/previews")
def previews(service: TheService, name: AnyName) -> list[PreviewResponse]:
    """Its preview sheets, from the first to the newest."""
    return _previews(run_called(name, service.runs), service.root)


@routes.get("/{name}/previews/{file}", response_class=FileResponse)
def preview(service: TheService, name: AnyName, file: AnyName) -> FileResponse:
    """One of its preview sheets (PNG)."""
    return FileResponse(run_called(name, service.runs).preview(file), media_type="image/png")


def _facts(one: RunFiles, folders: Folders, jobs: dict[str, str]) -> dict[str, object]:
    done, seconds = one.progress()
    recipe = one.recipe
    return {
        "name": one.name,
        "recipe": recipe.name,
        "system": recipe.system,
        "data": _title_of(recipe.data, folders),
        "done": done,
        "iterations": recipe.train.iterations,
        "minutes": recipe.train.minutes,
        "seconds": seconds,
        "training": one.is_training,
        "finished": one.finished,
        "model": one.has_model,
        "claims": recipe.claim is not None,
        "job": jobs.get(one.name),
        "command": shlex.join(["zeuxis", "train", str(folders.runs / one.name)]),
    }


def _title_of(data: str, folders: Folders) -> str:
    """What a person calls data: of a set that was given here, its title."""
    titles = {str(one.folder): one.title for one in Datasets(folders.home).all()} if FOLDER in data else {}
    clean, bar, chain = data.partition(" |")
    return f"{titles.get(clean, clean)}{bar}{chain}"


def _detail(one: RunFiles, service: Service) -> RunDetailResponse:
    log = one.log()
    learning = is_learning(one.held_out(), logged=bool(log), finished=one.finished)
    return RunDetailResponse.model_validate(
        {
            **_facts(one, service.folders, last_jobs(service.queue)),
            "about": one.recipe.about,
            "claim": one.recipe.claim,
            "columns": list(one.curves()),
            "previews": _previews(one, service.root),
            "events": one.events()[-MOST_EVENTS:],
            "learning": {"answer": learning.answer, "reason": learning.reason},
        }
    )


def _previews(one: RunFiles, root: str) -> list[PreviewResponse]:
    return [
        PreviewResponse(
            file=name, url=f"{root}/api/runs/{quote(one.name)}/previews/{name}", iteration=int(name.partition(".")[0])
        )
        for name in one.previews()
    ]
