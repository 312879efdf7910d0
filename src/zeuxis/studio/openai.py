"""The OpenAI Images API, as its Python client speaks it: generations, edits, variations, models. Imports no torch.

https://platform.openai.com/docs/api-reference/images. Beside its fields stand ours, at top level (``extra_body`` of the
client): seed, steps, guidance, sampler, strength, temperature, label, negative, knobs. Pictures are PNG, which carries
the record of how each was made; what has no meaning here (quality, style, moderation, user) is taken and says nothing.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from zeuxis.errors import lookup
from zeuxis.knobs import SHORT
from zeuxis.studio.error_handlers import ENDING, JobFailed
from zeuxis.studio.event_stream import JobStream, event
from zeuxis.studio.limits import MOST_GIVEN
from zeuxis.studio.models import KnownModel, known_models
from zeuxis.studio.queue import Job
from zeuxis.studio.requests import Knobs, KnobValue, SampleJob, Seed, StrictModel, Text
from zeuxis.studio.responses import ErrorResponse
from zeuxis.studio.service import Service, TheService
from zeuxis.studio.validating import ParameterRefused, read_as

routes = APIRouter(
    prefix="/v1", tags=["openai"], responses={400: {"model": ErrorResponse}, 503: {"model": ErrorResponse}}
)
FIRST = "scenes"  # the model where none is named
MOST_AT_ONCE = 10  # pictures of a request, as the API has it
SIZES = frozenset({"auto", None})


class ImagesRequest(StrictModel):
    """What generations, edits and variations have in common."""

    model: str | None = None
    n: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] | None = 1
    size: Annotated[str, Field(pattern=r"^(auto|[0-9]{1,4}x[0-9]{1,4})$")] | None = None
    response_format: Literal["url", "b64_json"] | None = "b64_json"
    user: str | None = None
    # ours
    seed: Seed | None = None
    steps: KnobValue | None = None
    guidance: KnobValue | None = None
    sampler: KnobValue | None = None
    strength: KnobValue | None = None
    temperature: KnobValue | None = None
    label: str | int | None = None
    negative: Text | None = None
    knobs: Knobs = Field(default_factory=dict)


class GenerationsRequest(ImagesRequest):
    """``POST /v1/images/generations``."""

    prompt: Text
    background: Literal["transparent", "opaque", "auto"] | None = None
    moderation: Literal["low", "auto"] | None = None
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    output_format: str | None = None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None
    quality: str | None = None
    safety_identifier: str | None = None
    stream: bool | None = None
    style: str | None = None


class EditsRequest(GenerationsRequest):
    """``POST /v1/images/edits``, without its files."""

    input_fidelity: Literal["high", "low"] | None = None


class ImageResponse(BaseModel):
    """One picture; beside the API's fields its seed, and the commands that make it again."""

    b64_json: str | None = None
    url: str | None = None
    seed: int
    command: str
    replay: str | None


class ImagesResponse(BaseModel):
    """What all three answer."""

    created: int
    data: list[ImageResponse]
    background: Literal["opaque"] = "opaque"
    output_format: Literal["png"] = "png"
    size: str
    usage: dict[str, Any]


class ModelCard(BaseModel):
    """A model as the API lists them."""

    model_config = ConfigDict(protected_namespaces=())
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str


class ModelList(BaseModel):
    """``GET /v1/models``."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


@routes.get("/models")
def models(service: TheService) -> ModelList:
    """The models that draw."""
    return ModelList(data=[_card(one) for one in _drawing(service)])


@routes.get("/models/{name:path}", responses={404: {"model": ErrorResponse}})
def model(service: TheService, name: str) -> ModelCard:
    """One of them."""
    return _card(lookup("model", name, {one.name: one for one in _drawing(service)}))


@routes.post("/images/generations", response_model=ImagesResponse)
async def generations(service: TheService, request: Request, asked: GenerationsRequest) -> Any:
    """Pictures of a prompt."""
    return await _answered(service, request, asked, {}, "image_generation")


@routes.post("/images/edits", response_model=ImagesResponse)
async def edits(service: TheService, request: Request) -> Any:
    """A picture, or several, changed as a prompt says; where a mask is transparent, if one is given."""
    form = await request.form(max_files=MOST_GIVEN + 1)
    images, mask = _files(form, "image"), _files(form, "mask")
    if not images:
        raise ParameterRefused("image", "an edit wants a picture: give image")
    given = {"source": [await _kept(service, each) for each in images]}
    if mask:
        given["mask"] = [await _kept(service, mask[0])]
    return await _answered(service, request, _read(EditsRequest, form), given, "image_edit")


@routes.post("/images/variations", response_model=ImagesResponse)
async def variations(service: TheService, request: Request) -> Any:
    """Others like a picture, by a model that is given one."""
    form = await request.form(max_files=1)
    images = _files(form, "image")
    if not images:
        raise ParameterRefused("image", "a variation wants a picture: give image")
    given = {"source": [await _kept(service, images[0])]}
    return await _answered(service, request, _read(ImagesRequest, form), given, "image_edit")


# -- what is asked for --------------------------------------------------------------------------------


async def _answered(
    service: Service, request: Request, asked: ImagesRequest, given: Mapping[str, list[str]], kind: str
) -> Any:
    streamed = isinstance(asked, GenerationsRequest) and bool(asked.stream)
    partials = (asked.partial_images or 0) if isinstance(asked, GenerationsRequest) and streamed else 0
    job = service.submit(_as_job(service, asked, given, partials))
    if streamed:
        return JobStream(service.queue, job.id, _events(service, job, kind), service.is_ending)
    done = await service.ended(job.id, request.is_disconnected)
    if done.result is None:
        raise JobFailed(done)
    here = f"{str(request.base_url).rstrip('/')}{service.root}"
    base = None if asked.response_format != "url" else f"{here}/api/jobs/{done.id}/files"
    return ImagesResponse(
        created=int(done.created),
        data=await run_in_threadpool(lambda: [_image(service, done, k, base) for k in range(done.pictures)]),
        size=_size(done),
        usage=_usage(),
    )


def _as_job(service: Service, asked: ImagesRequest, given: Mapping[str, list[str]], partials: int) -> SampleJob:
    prompt = asked.prompt if isinstance(asked, GenerationsRequest) else None
    if isinstance(asked, GenerationsRequest):
        if asked.background == "transparent":
            raise ParameterRefused("background", "pictures here are opaque: leave background out")
        if asked.output_format not in (None, "png"):
            raise ParameterRefused("output_format", "pictures are PNG, which carries the record of how each was made")
    knobs = dict(asked.knobs)
    for name in SHORT:
        if (value := getattr(asked, name)) is not None:
            knobs[name] = value
    refs = {name: [{"upload": upload} for upload in uploads] for name, uploads in given.items()}
    condition: dict[str, Any] = {name: {"parts": each} if each[1:] else each[0] for name, each in refs.items()}
    condition |= {n: v for n, v in (("label", asked.label), ("negative", asked.negative)) if v is not None}
    return read_as(
        SampleJob,
        {
            "model": asked.model or FIRST,
            "n": asked.n or 1,
            "seed": asked.seed,
            "size": None if asked.size in SIZES else asked.size,
            "prompt": prompt,
            "condition": condition,
            "knobs": knobs,
            "partials": partials,
        },
    )


async def _kept(service: Service, given: UploadFile) -> str:
    """The name of a picture that is given; it is coded again beside the loop, which others wait for."""
    return await run_in_threadpool(service.take, await given.read())


def _read(kind: type[ImagesRequest], form: FormData) -> Any:
    """The fields of a form that are no files; ``knobs`` is JSON there, or ``knobs[NAME]`` each."""
    texts, turned = dict[str, Any](), dict[str, KnobValue]()
    for name, value in form.multi_items():
        if not isinstance(value, str):
            continue
        if name == "knobs":
            try:
                texts[name] = json.loads(value)
            except (ValueError, RecursionError):
                raise ParameterRefused("knobs", "knobs is no JSON: give an object of values by name") from None
        elif inside := re.fullmatch(r"knobs\[([\w-]+)\]", name):  # as the client spells an object
            turned[inside[1]] = _value(value)
        else:
            texts[name] = _value(value) if name in SHORT else value
    if turned:
        texts["knobs"] = turned
    return read_as(kind, texts)


def _value(text: str) -> KnobValue:
    """A knob's value of a form, where all are texts."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)


def _files(form: FormData, name: str) -> list[UploadFile]:
    """The files called ``name`` or ``name[]``."""
    return [each for key in (name, f"{name}[]") for each in form.getlist(key) if isinstance(each, UploadFile)]


# -- what is answered ---------------------------------------------------------------------------------


async def _events(service: Service, job: Job, kind: str) -> AsyncIterator[str | None]:
    shown, done = 0, job
    common = {"background": "opaque", "output_format": "png", "quality": "auto"}
    async for state in service.changes(job.id):
        if state is None:
            yield None
            continue
        done = state
        for number, png in service.queue.partials(job.id, shown):
            shown = number + 1
            text = base64.b64encode(png).decode()
            partial = {"partial_image_index": number, "b64_json": text, "size": _size(job)}
            yield event(
                f"{kind}.partial_image", {"type": f"{kind}.partial_image", "created_at": _now(), **partial, **common}
            )
    if done.result is None:
        why = done.error or ("cancelled" if done.has_ended else ENDING)
        yield event("error", {"error": {"message": why, "type": "server_error", "code": done.fault}})
        return
    for k in range(done.pictures):
        image = _image(service, done, k, None)
        whole = {**image.model_dump(exclude={"url"}), "size": _size(done), "usage": _usage()}
        yield event(f"{kind}.completed", {"type": f"{kind}.completed", "created_at": _now(), **whole, **common})


def _image(service: Service, job: Job, k: int, base: str | None) -> ImageResponse:
    assert job.result is not None  # it is done
    made = job.result["pictures"][k]
    text = None if base is not None else base64.b64encode(service.picture(job, k)).decode()
    url = None if base is None else f"{base}/{made['file']}"
    return ImageResponse(
        b64_json=text, url=url, seed=made["seed"], command=job.result["command"], replay=made.get("replay")
    )


def _size(job: Job) -> str:
    if job.result is None:
        return "auto"
    first = job.result["pictures"][0]
    return f"{first['width']}x{first['height']}"


def _usage() -> dict[str, Any]:
    """Nothing is charged, and no tokens are counted."""
    return {
        "input_tokens": 0,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
        "output_tokens": 0,
        "total_tokens": 0,
    }


def _now() -> int:
    return int(time.time())


def _drawing(service: Service) -> list[KnownModel]:
    return [one for one in known_models(service.runs).values() if "sample" in one.system.card.verbs]


def _card(one: KnownModel) -> ModelCard:
    return ModelCard(id=one.name, owned_by=f"zeuxis ({one.origin})")
