"""What there is: methods, models, recipes, results. Pages are made of this, so that a new method needs none of its own.

Imports no torch.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.params import Path as InPath
from fastapi.responses import FileResponse

from zeuxis.api.evidence import verdict_on
from zeuxis.api.moving import writable
from zeuxis.api.shipped_restorers import SHIPPED
from zeuxis.catalog.listing import RESULTS, entries, problems, results
from zeuxis.conditions import FIELDS
from zeuxis.errors import UnknownName
from zeuxis.pretrained.upscalers import UPSCALERS, wheel_folder
from zeuxis.recipe import Recipe, load_recipe, recipe_paths, recipe_systems
from zeuxis.studio import limits
from zeuxis.studio.models import knob_dict, known_models, model_called
from zeuxis.studio.responses import (
    CatalogResponse,
    FieldResponse,
    ModelResponse,
    RecipeResponse,
    RestorerResponse,
    StatusResponse,
    SystemResponse,
)
from zeuxis.studio.service import TheService
from zeuxis.version import __version__

routes = APIRouter(prefix="/api", tags=["catalogue"])
AnyName = Annotated[str, InPath(max_length=200)]
VERDICTS = {True: "holds", False: "does not hold", None: "nothing claimed yet"}
Stamp = tuple[str, Path, int, int]  # a recipe's name and file, and when it was written and how long it is


@routes.get("/status")
def status(service: TheService, request: Request) -> StatusResponse:
    """The service as it is."""
    bounds = {
        "pictures": limits.MOST_PICTURES,
        "given": limits.MOST_GIVEN,
        "steps": limits.MOST_STEPS,
        "side": limits.MOST_SIDE,
        "frames": limits.MOST_FRAMES,
        "text": limits.MOST_TEXT,
        "partials": limits.MOST_PARTIALS,
        "pixels": limits.MOST_PIXELS,
        "body": limits.MOST_BODY,
        "queue": service.queue.most,
    }
    supervisor = request.app.state.supervisor
    worker = None if supervisor is None else supervisor.process
    counts = service.queue.counts()
    return StatusResponse(version=__version__, jobs=counts, worker=worker, limits=bounds, moving=writable())


@routes.get("/catalog")
def catalog() -> CatalogResponse:
    """Every method with its card, and every field that may steer a picture."""
    system_of = _systems(_stamps())
    return CatalogResponse(
        systems=[
            SystemResponse(
                id=name,
                title=entry.card.title,
                family=entry.card.family,
                year=entry.card.year,
                paper=entry.card.paper,
                about=entry.doc,
                verbs=sorted(entry.card.verbs),
                needs=sorted(entry.card.needs),
                accepts=sorted(entry.card.accepts),
                knobs=[knob_dict(knob) for knob in entry.card.knob_table.values()],  # type: ignore[misc]
                learns=entry.card.learns,
                departures=list(entry.card.departures),
                recipes=[recipe for recipe, system in system_of.items() if system == name],
                own=entry.place is not None,
            )
            for name, entry in entries().items()
        ],
        fields=[FieldResponse(name=f.name, kind=f.kind, meaning=f.meaning) for f in FIELDS.values()],
        problems=[problem.message for problem in problems()],
    )


@routes.get("/models")
def models(service: TheService) -> list[ModelResponse]:
    """Every model that may be asked for: those that ship, generators, and the runs."""
    return [ModelResponse.model_validate(one.as_dict()) for one in known_models(service.runs).values()]


@routes.get("/models/{name:path}")
def model(service: TheService, name: AnyName) -> ModelResponse:
    """One of them."""
    return ModelResponse.model_validate(model_called(name, service.runs).as_dict())


@routes.get("/restorers")
def restorers() -> list[RestorerResponse]:
    """The restorers that are known by name; runs of restorers are among the models."""
    mine = [RestorerResponse(name=name, task=one.task, about=one.about, here=True) for name, one in SHIPPED.items()]
    return mine + [
        RestorerResponse(name=name, task=one.task, about=one.about, here=wheel_folder(one.wheel) is not None)
        for name, one in UPSCALERS.items()
    ]


@routes.get("/recipes")
def recipes() -> list[RecipeResponse]:
    """Every recipe in short."""
    return [_in_short(recipe) for recipe in _recipes(_stamps()).values()]


@routes.get("/results")
def measured() -> list[dict[str, Any]]:
    """What ``zeuxis reproduce`` measured; ``verdict`` says in words how each stands to its claim."""
    kept = results()
    known = _recipes(tuple(stamp for stamp in _stamps() if stamp[0] in kept))
    return [{**found, "verdict": verdict_on(known.get(name), found, VERDICTS)} for name, found in kept.items()]


@routes.get("/results/{recipe}/sheet", response_class=FileResponse)
def sheet(recipe: AnyName) -> FileResponse:
    """The pictures of a result."""
    sheets = {name: found["sample_sheet"] for name, found in results().items() if found.get("sample_sheet")}
    if recipe not in sheets:
        raise UnknownName("result", recipe, sheets)
    return FileResponse(RESULTS / sheets[recipe], media_type="image/webp")


def _stamps() -> tuple[Stamp, ...]:
    """What tells whether any recipe has changed: to read them all takes a tenth of a second, which each page load had
    to wait for."""
    return tuple((name, path, *_written(path)) for name, path in recipe_paths().items())


def _written(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:  # whoever reads it is told why
        return 0, 0
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=2)
def _recipes(stamps: tuple[Stamp, ...]) -> dict[str, Recipe]:
    """Every recipe, by name."""
    return {name: load_recipe(name) for name, *_ in stamps}


@lru_cache(maxsize=2)
def _systems(stamps: tuple[Stamp, ...]) -> dict[str, str]:
    """The system of every recipe, of the ``stamps`` that it is remembered by."""
    return recipe_systems()


def _in_short(recipe: Recipe) -> RecipeResponse:
    return RecipeResponse(
        name=recipe.name,
        system=recipe.system,
        about=recipe.about,
        data=recipe.data,
        iterations=recipe.train.iterations,
        minutes=recipe.train.minutes,
        claim=None if recipe.claim is None else recipe.claim.model_dump(mode="json"),
    )
