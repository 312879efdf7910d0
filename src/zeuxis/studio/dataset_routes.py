"""Data over HTTP: the sets that are known by name, and those that are given picture by picture. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, UploadFile
from fastapi.responses import Response
from pydantic import BaseModel, Field

from zeuxis.data.entries import ENTRIES, is_here
from zeuxis.data.published import PUBLISHED, copy_of
from zeuxis.errors import UsageError
from zeuxis.studio.datasets import MOST_LABEL, Dataset, Datasets
from zeuxis.studio.limits import MOST_BODY, MOST_PICTURES
from zeuxis.studio.queue import State
from zeuxis.studio.recoding import cleaned
from zeuxis.studio.requests import Name, ShortName, StrictModel
from zeuxis.studio.service import TheService
from zeuxis.studio.training_requests import MOST_JOBS

routes = APIRouter(prefix="/api", tags=["data"])
BUSY: tuple[State, ...] = ("queued", "running")
Label = Annotated[str, Form(max_length=MOST_LABEL)]


class DataResponse(BaseModel):
    """A set or a world by name: how many pictures it trains on, what comes with them, and whether it is ``here``."""

    name: str
    title: str
    provides: list[str]
    pictures: int | None
    here: bool


class NewDataset(StrictModel):
    """A data set to be filled."""

    title: ShortName


class DatasetResponse(BaseModel):
    """A data set of the service's own: pictures in all and of each label, and bytes as they are kept."""

    name: str
    title: str
    created: float
    pictures: int
    bytes: int
    labels: dict[str, int]


class AddedResponse(BaseModel):
    """A data set after pictures came, and why others of them were not taken, by the number in the request."""

    dataset: DatasetResponse
    refused: Annotated[dict[int, str], Field(description="Why, by the place in the request.")]


@routes.get("/data")
def data() -> list[DataResponse]:
    """The sets and worlds that are known by name; those that are not here are fetched at a terminal, once."""
    known = [
        DataResponse(
            name=one.name,
            title=one.title,
            provides=list(one.provides),
            pictures=one.splits.get("train"),
            here=is_here(one),
        )
        for one in ENTRIES.values()
    ]
    published = [
        DataResponse(name=one.name, title=one.title, provides=[], pictures=None, here=copy_of(one) is not None)
        for one in PUBLISHED.values()
    ]
    return [*known, *published]


@routes.get("/datasets")
def datasets(service: TheService) -> list[DatasetResponse]:
    """The data sets that were given, the oldest first."""
    return [_answer(one) for one in Datasets(service.folders.home).all()]


@routes.post("/datasets", status_code=201)
def make(service: TheService, asked: NewDataset) -> DatasetResponse:
    """A new data set without pictures, under a name of the service's."""
    return _answer(Datasets(service.folders.home).make(asked.title))


@routes.get("/datasets/{name}")
def dataset(service: TheService, name: Name) -> DatasetResponse:
    """One of them."""
    return _answer(Datasets(service.folders.home).called(name))


@routes.post("/datasets/{name}/pictures", status_code=201)
def add(service: TheService, name: Name, pictures: list[UploadFile], label: Label = "") -> AddedResponse:
    """Give pictures (PNG, JPEG or WebP; at most 64 at a time) of one label, or of none; each is coded again.

    A file that is no such picture is left out, and the answer says why.
    """
    sets = Datasets(service.folders.home)
    sets.called(name)
    if len(pictures) > MOST_PICTURES:
        raise UsageError(f"{len(pictures)} pictures: at most {MOST_PICTURES} are taken at a time; give them in batches")
    kept, refused = list[bytes](), dict[int, str]()
    for k, picture in enumerate(pictures):
        try:
            kept.append(cleaned(picture.file.read(MOST_BODY + 1)))
        except UsageError as reason:
            refused[k] = str(reason)
    found = sets.add(name, kept, label or None)
    return AddedResponse(dataset=_answer(found), refused=refused)


@routes.delete("/datasets/{name}", status_code=204)
def remove(service: TheService, name: Name) -> Response:
    """Forget a data set; what was trained on it stays, and cannot be gone on with."""
    busy = [job for state in BUSY for job in service.queue.newest(MOST_JOBS, state=state, kind="train")]
    if any(name == job.request.get("dataset") for job in busy):
        raise UsageError("a training reads this data set, or waits for it: stop it first")
    Datasets(service.folders.home).remove(name)
    return Response(status_code=204)


def _answer(one: Dataset) -> DatasetResponse:
    return DatasetResponse.model_validate(one.as_dict())
