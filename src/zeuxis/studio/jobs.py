"""The house's own API: pictures given, jobs submitted, followed, cancelled, and their results. Imports no torch."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, UploadFile
from fastapi.params import Path as InPath
from fastapi.responses import FileResponse, Response, StreamingResponse
from PIL import Image

from zeuxis.errors import UnknownName, UsageError, ZeuxisError
from zeuxis.files import write_draft
from zeuxis.provenance.record import read_record
from zeuxis.studio.event_stream import MEDIA_TYPE, UNBUFFERED, event, kept_alive, written
from zeuxis.studio.limits import MOST_BODY, MOST_PARTIALS
from zeuxis.studio.queue import State
from zeuxis.studio.recoding import cleaned, not_kept
from zeuxis.studio.requests import AnyJob, Name
from zeuxis.studio.responses import JobResponse, UploadResponse, job_response
from zeuxis.studio.service import Service, TheService
from zeuxis.studio.zip_stream import zip_of

routes = APIRouter(prefix="/api", tags=["jobs"])
MEDIA_TYPES = {".png": "image/png", ".webp": "image/webp", ".gif": "image/gif", ".mp4": "video/mp4"}
FileName = Annotated[str, InPath(max_length=100)]
PartialNumber = Annotated[int, InPath(ge=0, lt=MOST_PARTIALS)]


@routes.post("/uploads", status_code=201)
def upload(service: TheService, picture: UploadFile) -> UploadResponse:
    """Give a picture (PNG, JPEG or WebP, at most 32 megapixels); it is coded again, under a name of the service's."""
    content = picture.file.read(MOST_BODY + 1)
    png, record = cleaned(content), _record_in(content, service)
    name = service.folders.keep(png, record)
    with Image.open(io.BytesIO(png)) as shown:
        width, height = shown.size
    return UploadResponse(
        upload=name,
        url=f"{service.root}/api/uploads/{name}",
        width=width,
        height=height,
        record=record,
        notes=not_kept(content),
    )


@routes.get("/uploads/{name}", response_class=FileResponse)
def uploaded(service: TheService, name: Name) -> FileResponse:
    """A picture that was given, as it was coded again."""
    return FileResponse(service.folders.upload(name), media_type="image/png")


@routes.delete("/uploads/{name}", status_code=204)
def forget(service: TheService, name: Name) -> Response:
    """Forget a picture that was given; jobs that refer to it cannot be done again."""
    service.folders.upload(name).with_suffix(".json").unlink(missing_ok=True)
    service.folders.upload(name).unlink()
    return Response(status_code=204)


@routes.post("/jobs", status_code=202)
def submit(service: TheService, asked: AnyJob) -> JobResponse:
    """Ask for something; the answer says under which id it is followed."""
    job = service.submit(asked)
    return job_response(job, service.queue.ahead(job.id), service.root)


@routes.get("/jobs")
def newest(
    service: TheService,
    n: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Name | None = None,
    state: State | None = None,
    kind: Annotated[str | None, Query(max_length=20)] = None,
) -> list[JobResponse]:
    """Jobs, the newest first; those ``before`` another, for the next page."""
    if before is not None:
        service.job(before)  # one that was forgotten has no place among the others
    return [
        job_response(job, service.queue.ahead(job.id), service.root)
        for job in service.queue.newest(n, before, state, kind)
    ]


@routes.get("/jobs/{name}")
def job(service: TheService, name: Name) -> JobResponse:
    """A job as it stands."""
    return job_response(service.job(name), service.queue.ahead(name), service.root)


@routes.post("/jobs/{name}/cancel")
def cancel(service: TheService, name: Name) -> JobResponse:
    """End a job: one that waits at once, one at work within two steps; a training saves first, and can be resumed.

    One that has ended stays as it is.
    """
    service.job(name)
    service.queue.cancel(name)
    return job_response(service.job(name), 0, service.root)


@routes.post("/jobs/{name}/resume")
def resume(service: TheService, name: Name) -> JobResponse:
    """Queue a training (or a measurement) again that was cancelled or has failed: it goes on from its checkpoint."""
    found = service.resume(name)
    return job_response(found, service.queue.ahead(name), service.root)


@routes.delete("/jobs/{name}", status_code=204)
def remove(service: TheService, name: Name) -> Response:
    """Forget a job that has ended, and its pictures."""
    service.job(name)
    if not service.queue.remove(name):
        raise UsageError(f"job {name} has not ended: cancel it first")
    service.folders.forget(name)
    return Response(status_code=204)


@routes.get("/jobs/{name}/files/{file}", response_class=FileResponse)
def file(service: TheService, name: Name, file: FileName) -> FileResponse:
    """A file of a job's result; a picture, still or moving, holds the record of how it was made."""
    service.job(name)
    found = service.folders.file(name, file)
    return FileResponse(found, media_type=MEDIA_TYPES.get(found.suffix, "application/octet-stream"))


@routes.get("/jobs/{name}/zip", response_class=StreamingResponse)
def zipped(service: TheService, name: Name) -> StreamingResponse:
    """All pictures of a job that is done, in one zip, as they are: each holds its record."""
    job = service.job(name)
    pictures = (job.result or {}).get("pictures", [])
    if not pictures:
        raise UsageError(
            f"job {name} is {job.state} and has no pictures: a zip is of a job that is done, and made some"
        )
    files = [service.folders.file(name, picture["file"]) for picture in pictures]
    told = {"Content-Disposition": f'attachment; filename="zeuxis-{name}.zip"'}
    return StreamingResponse(zip_of(files), media_type="application/zip", headers=told)


@routes.get("/jobs/{name}/partials/{number}", response_class=Response)
def partial(service: TheService, name: Name, number: PartialNumber) -> Response:
    """An unfinished picture of a job at work."""
    service.job(name)
    found = dict(service.queue.partials(name))
    if number not in found:
        raise UnknownName("partial picture", str(number), map(str, found))
    return Response(found[number], media_type="image/png")


@routes.get("/jobs/{name}/events", response_class=StreamingResponse)
async def events(service: TheService, name: Name) -> StreamingResponse:
    """Server-sent events: ``job`` (as it stands), ``partial`` (number, url, PNG in base64), and at last ``end``."""
    service.job(name)
    return StreamingResponse(kept_alive(_events(service, name)), media_type=MEDIA_TYPE, headers=UNBUFFERED)


async def _events(service: Service, name: str) -> AsyncIterator[str | None]:
    shown, last = 0, ""
    async for found in service.changes(name):
        if found is None:
            yield None
            continue
        for number, png in service.queue.partials(name, shown):
            shown = number + 1
            text = base64.b64encode(png).decode()  # for who comes when the job has ended, and it with it
            yield event(
                "partial",
                {"number": number, "url": f"{service.root}/api/jobs/{name}/partials/{number}", "b64_json": text},
            )
        answer = job_response(found, service.queue.ahead(name), service.root).model_dump_json()
        if found.has_ended:
            yield written("end", answer)
        elif answer != last:
            last = answer
            yield written("job", answer)


def _record_in(content: bytes, service: Service) -> dict[str, Any] | None:
    """The record of how a picture was made, where its PNG carries a sound one."""
    draft = write_draft(service.folders.uploads / "given.png", content)
    try:
        record = read_record(draft)
        json.dumps(record, ensure_ascii=False, allow_nan=False).encode()
    except (ZeuxisError, ValueError):  # of another program, or damaged: then there is none
        return None
    finally:
        draft.unlink()
    return record
