"""Answers of the house's own API, typed for its description. Imports no torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from zeuxis.card import LatentKind
from zeuxis.conditions import FieldKind
from zeuxis.studio.queue import Job, JobFacts


class ErrorText(BaseModel):
    """What was wrong, where, and the mend."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(BaseModel):
    """Every answer of 4xx and 5xx."""

    error: ErrorText


class MadePicture(BaseModel):
    """A picture of a job; ``replay`` is the command that makes the same bytes."""

    file: str
    url: str
    seed: int
    width: int
    height: int
    record: dict[str, Any]
    replay: str | None = None


class JobResult(BaseModel):
    """What a job came to; ``command`` makes it again at a terminal."""

    pictures: list[MadePicture]
    files: list[str] = []
    command: str
    notes: list[str] = []
    facts: dict[str, Any] = {}


class JobResponse(JobFacts):
    """A job as it stands. ``ahead`` are the jobs that will be begun before it; times are seconds since 1970."""

    ahead: int
    result: JobResult | None


class UploadResponse(BaseModel):
    """A picture that was given: its name here, the record that its PNG carried, if it did, and what was not kept."""

    upload: str
    url: str
    width: int
    height: int
    record: dict[str, Any] | None
    notes: list[str] = []


class KnobResponse(BaseModel):
    """A knob: its range in numbers and in words."""

    name: str
    type: Literal["int", "float", "choice", "switch"]
    meaning: str
    range: str
    default: bool | int | float | str | None
    least: float | None
    most: float | None
    choices: list[str]


class EditResponse(BaseModel):
    """A way in which a model changes a picture: fields given as pictures, those told beside, and its knobs."""

    name: str
    title: str
    about: str
    fields: list[str]
    knobs: list[str]
    other: list[str]
    job: Literal["sample", "edit"]


class ModelResponse(BaseModel):
    """A model that can be asked for, as its card has it; a job of kind ``describe`` says exactly what it obeys.

    ``latents`` are what it decodes: numbers, a style code for each layer, or entries of a table; null where
    it decodes none.
    """

    name: str
    path: str
    recorded: str = Field(description="What the records of its pictures call it.")
    origin: Literal["shipped", "generator", "pulled", "run"]
    system: str
    title: str
    family: str
    verbs: list[str]
    latents: LatentKind | None
    needs: list[str]
    accepts: list[str]
    knobs: list[KnobResponse]
    shape: list[int] | None
    classes: list[str]
    source_shape: list[int] | None
    layouts: list[str]
    factors: list[list[str | int]]
    data: str | None
    sha256: str | None
    draws: str | None = Field(description="The field that a drawing is for it.")
    edits: list[EditResponse]


class SystemResponse(BaseModel):
    """A method: its card, what is told of it, and its recipes."""

    id: str
    title: str
    family: str
    year: int
    paper: str
    about: str
    verbs: list[str]
    needs: list[str]
    accepts: list[str]
    knobs: list[KnobResponse]
    learns: bool
    departures: list[str]
    recipes: list[str]
    own: bool


class FieldResponse(BaseModel):
    """A field that steers a picture, and what is given for it."""

    name: str
    kind: FieldKind
    meaning: str


class CatalogResponse(BaseModel):
    """Every method, every field of a condition, and why something of the user's own cannot be used."""

    systems: list[SystemResponse]
    fields: list[FieldResponse]
    problems: list[str]


class RestorerResponse(BaseModel):
    """A published restorer; ``here`` says whether its package is installed."""

    name: str
    task: str
    about: str
    here: bool


class RecipeResponse(BaseModel):
    """A recipe in short."""

    name: str
    system: str
    about: str
    data: str
    iterations: int | None
    minutes: float | None
    claim: dict[str, Any] | None


class StatusResponse(BaseModel):
    """The service as it is: jobs by state, whether its worker runs, how much one request may ask for,
    and in which forms pictures that move can be written here."""

    version: str
    jobs: dict[str, int]
    worker: int | None
    limits: dict[str, int]
    moving: list[str]


def job_response(job: Job, ahead: int, root: str) -> JobResponse:
    """A job as the API has it; ``root`` stands before the addresses of its pictures."""
    found = job.model_dump()
    if found["result"] is not None:
        base = f"{root}/api/jobs/{job.id}/files"
        pictures = [{**each, "url": f"{base}/{each['file']}"} for each in found["result"]["pictures"]]
        found["result"] = {**found["result"], "pictures": pictures}
    return JobResponse.model_validate({**found, "ahead": ahead})
