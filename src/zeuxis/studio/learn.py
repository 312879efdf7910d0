"""What a method's page shows besides its card: its own file as text, and exercises. Imports no torch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter
from fastapi.params import Path as InPath
from pydantic import BaseModel

from zeuxis.api.exercise import Expected
from zeuxis.api.exercise import exercises as exercises_of
from zeuxis.catalog.listing import Entry, entries
from zeuxis.data.entries import not_here
from zeuxis.errors import lookup
from zeuxis.files import read_text

routes = APIRouter(prefix="/api/systems", tags=["learn"])
AnyName = Annotated[str, InPath(max_length=200)]
MOST_SOURCE = 1 << 20  # bytes of a method's file


class SourceResponse(BaseModel):
    """The file that defines a method, as text; ``begins`` is the line of its class, the first being 1."""

    file: str
    text: str
    begins: int


class ExerciseResponse(BaseModel):
    """An exercise: with a ``figure`` to expect, or a ``knob`` to turn and no figure.

    ``lacks`` are the sets that have to be fetched first, at a terminal.
    """

    recipe: str
    kind: Literal["figure", "knob"]
    text: str
    iterations: int | None
    data: str
    lacks: list[str]
    expected: Expected | None


@routes.get("/{name}/source")
def source(name: AnyName) -> SourceResponse:
    """The file of a method."""
    found = _called(name)
    text = read_text(found.path, MOST_SOURCE)
    lines = text.splitlines()
    begins = next((k for k, line in enumerate(lines, 1) if line.startswith(f"class {found.class_name}")), 1)
    return SourceResponse(file=found.path.name, text=text, begins=begins)


@routes.get("/{name}/exercises")
def exercises(name: AnyName) -> list[ExerciseResponse]:
    """What may be tried with a method's recipes, and the figures to expect; none of those that nothing is known of."""
    _called(name)
    return [ExerciseResponse.model_validate({**asdict(one), "lacks": not_here(one.data)}) for one in exercises_of(name)]


def _called(name: str) -> Entry:
    return lookup("system", name, entries())
