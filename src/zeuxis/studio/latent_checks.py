"""Requests to the latent tools, checked before they are queued. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zeuxis.api.moving import writer_of
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.studio.checks import check_condition, check_pictures, checked_knobs, chosen_seed
from zeuxis.studio.folders import Folders
from zeuxis.studio.limits import MOST_FRAMES, MOST_PICTURES, check_size
from zeuxis.studio.models import KnownModel, model_called
from zeuxis.studio.queue import Job
from zeuxis.studio.requests import BreedJob, DirectionsJob, LatentJob, MixJob, MoveJob, ProjectJob, WalkJob


def check_latents(asked: LatentJob, request: dict[str, Any], folders: Folders, job: Callable[[str], Job]) -> int:
    """Check what is asked for and complete ``request``; returns how many pictures come of it.

    ``job`` finds an earlier job. Raises :class:`zeuxis.errors.ZeuxisError` for what cannot be done.
    """
    match asked:
        case WalkJob():
            return _check_walk(asked, request, folders)
        case MixJob():
            return _check_mix(asked, request, folders)
        case DirectionsJob():
            known = _decoder(request, folders)
            if asked.by == "sefa" and "latent_weights" not in known.system.card.verbs:
                raise Unsupported(f"'{known.name}' does not say what its latents meet first: find directions by pca")
            _check_layers(known, asked.layers)
            return 1
        case MoveJob():
            return _check_move(asked, request, folders, job)
        case BreedJob():
            return _check_breed(asked, request, folders, job)
        case ProjectJob():
            return _check_project(asked, request, folders)


def _check_walk(asked: WalkJob, request: dict[str, Any], folders: Folders) -> int:
    known = _decoder(request, folders)
    ends = len(asked.seeds) + len(asked.pictures)
    if ends < 2:
        raise UsageError(f"a walk leads over two latents or more, not {ends}: give more seeds or pictures")
    shown = asked.frames * ends if asked.loop else asked.frames * (ends - 1) + 1
    if shown > MOST_FRAMES:
        raise UsageError(f"{shown} frames: at most {MOST_FRAMES} are made here; zeuxis walk makes more")
    _check_room(known, shown)
    if asked.format != "png":
        writer_of(Path(f"walk.{asked.format}"))
    _check_drawn(known, request, len(asked.seeds), request["pictures"], folders)
    return 1


def _check_mix(asked: MixJob, request: dict[str, Any], folders: Folders) -> int:
    known = _decoder(request, folders)
    rows, columns = len(asked.rows) + len(asked.row_pictures), len(asked.columns) + len(asked.column_pictures)
    if not rows or not columns:
        raise UsageError("nobody to mix: give seeds or pictures for the rows, and for the columns")
    shown = (1 + rows) * (1 + columns) - 1
    if shown > MOST_PICTURES:
        raise UsageError(f"{rows} rows by {columns} columns are {shown} pictures: at most {MOST_PICTURES} are made")
    if asked.layers is not None and asked.share is not None:
        raise UsageError("layers and a share are two ways to mix: give one of them")
    _check_layers(known, asked.layers)
    _check_room(known, shown)
    given = [*request["row_pictures"], *request["column_pictures"]]
    _check_drawn(known, request, len(asked.rows) + len(asked.columns), given, folders)
    return shown


def _check_move(asked: MoveJob, request: dict[str, Any], folders: Folders, job: Callable[[str], Job]) -> int:
    known = _decoder(request, folders)
    found = _done(job(asked.directions), "directions")
    names = found["facts"]["names"]
    for name in asked.strengths:
        if name not in names:
            raise UnknownName(f"direction of job {asked.directions}:", name, names)
    moving = {name: strength for name, strength in asked.strengths.items() if strength}
    request["strengths"] = moving or dict(list(asked.strengths.items())[:1])  # the picture itself is moved by nothing
    if asked.picture is not None and asked.n != 1:
        raise UsageError(f"{asked.n} pictures of one that is given: leave n out")
    _check_room(known, asked.n)
    drawn = asked.n if asked.picture is None else 0
    _check_drawn(known, request, drawn, [] if asked.picture is None else [request["picture"]], folders)
    return asked.n


def _check_breed(asked: BreedJob, request: dict[str, Any], folders: Folders, job: Callable[[str], Job]) -> int:
    request["seed"] = chosen_seed() if asked.seed is None else asked.seed
    if asked.parents is None:
        known = _decoder(request, folders)
        _check_room(known, asked.n)
        _check_drawn(known, request, asked.n, [], folders)
        return asked.n
    parents = job(asked.parents)
    there = len(_done(parents, "breed")["pictures"])
    request["model"] = parents.request["model"]
    _decoder(request, folders)
    if len(set(asked.pick)) < len(asked.pick):
        raise UsageError("a picture is picked twice: pick each once")
    for k in asked.pick:
        if k >= there:
            raise UsageError(f"there is no picture {k}: pick from 0 to {there - 1}")
    if asked.n <= len(asked.pick):
        raise UsageError(f"{len(asked.pick)} favourites stay, which leaves no place for a child among {asked.n}")
    return asked.n


def _check_project(asked: ProjectJob, request: dict[str, Any], folders: Folders) -> int:
    known = _decoder(request, folders)
    if "draw_latents" not in known.system.card.verbs:
        raise Unsupported(f"'{known.name}' draws no latents, at whose mean a projection begins")
    if asked.each_layer and known.latents != "styles":
        raise Unsupported(f"'{known.name}' has no style space: its latent is one for all layers; leave each_layer out")
    _check_room(known, 1)
    check_condition(request["condition"], 1, folders)
    check_pictures([request["picture"]], folders)
    return 1


def _decoder(request: dict[str, Any], folders: Folders) -> KnownModel:
    """The model that a request names, which must decode latents that can be moved; its path goes into the request."""
    known = model_called(request["model"], folders.runs)
    request["path"] = known.path
    match known.latents:
        case None:
            can = ", ".join(sorted(known.system.card.verbs))
            raise Unsupported(f"'{known.name}' decodes no latents (it can: {can}): give a GAN, an autoencoder or a pca")
        case "entries":
            raise Unsupported(f"'{known.name}' codes pictures by entries of a table, between which nothing lies")
        case "numbers" | "styles":
            return known


def _check_drawn(
    known: KnownModel, request: dict[str, Any], drawn: int, given: Sequence[Any], folders: Folders
) -> None:
    """Check ``drawn`` pictures of seeds, with their knobs and condition, and those that are ``given``."""
    if drawn and "draw_latents" not in known.system.card.verbs:
        raise Unsupported(f"'{known.name}' draws no latents of its own: give pictures, which it encodes")
    if given and "encode" not in known.system.card.verbs:
        raise Unsupported(f"'{known.name}' encodes no pictures: give seeds")
    if not drawn and (request["condition"] or request["knobs"]):
        raise UsageError("knobs and conditions are for pictures that are drawn, and there are no seeds: leave them out")
    request["knobs"] = checked_knobs(known, request["knobs"])
    check_condition(request["condition"], drawn, folders)
    check_pictures(given, folders)


def _check_layers(known: KnownModel, layers: str | None) -> None:
    if layers is not None and known.latents != "styles":
        raise Unsupported(f"'{known.name}' has no style space: its latent is one for all layers; leave layers out")


def _check_room(known: KnownModel, pictures: int) -> None:
    """Refuse more pixels than one request may ask for."""
    shape = known.card.get("spec", {}).get("shape")
    if shape is not None:
        check_size((shape[1], shape[2]), pictures)


def _done(job: Job, kind: str) -> dict[str, Any]:
    """What an earlier job of that kind came to."""
    if job.kind != kind or job.result is None:
        raise UsageError(f"job {job.id} is no job of kind {kind} that is done: it is of kind {job.kind}, {job.state}")
    return job.result
