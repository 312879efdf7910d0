"""What the worker does for each kind of job of the latent tools: a call of the library, and what is told of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zeuxis.api.breed import Generation, begin, breed
from zeuxis.api.directions import STRENGTHS, SUFFIX, Directions, find, moved, show
from zeuxis.api.mix import mix
from zeuxis.api.model import Model
from zeuxis.api.project import project, size_note
from zeuxis.api.walk import walk
from zeuxis.files import draft_folder
from zeuxis.knobs import Sampling
from zeuxis.studio.commands import (
    breed_command,
    directions_command,
    mix_command,
    move_command,
    project_command,
    walk_command,
)
from zeuxis.studio.folders import path_of, with_paths
from zeuxis.studio.task_context import TaskContext, picture_entry

DIRECTIONS, SHEET, GRID = f"directions{SUFFIX}", "sheet.png", "grid.png"


def walked(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis walk``: the sheet as the picture, and beside it the pictures as one that moves."""
    model = context.models.get(request["path"])
    pictures = [path_of(ref, context.folders) for ref in request["pictures"]]
    condition = with_paths(request["condition"], context.folders)
    name = f"0000.{request['format']}"
    made = walk(
        model,
        seeds=request["seeds"],
        pictures=pictures,
        path=request["way"],
        steps=request["frames"],
        loop=request["loop"],
        how=Sampling(**request["knobs"]),
        report=context.progress,
        **condition,
    )
    files = made.save(context.draft / name, request["milliseconds"])
    return {
        "pictures": [picture_entry(context, files[-1], {})],
        "files": [file.name for file in files[:-1]],
        "command": walk_command(request, pictures, condition, f"walk.{request['format']}"),
        "facts": {"frames": len(made.shown), "columns": made.columns, "way": made.path},
    }


def mixed(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis mix``: every picture of the grid row by row, without its empty corner, and the grid as a file."""
    model = context.models.get(request["path"])
    rows, columns = (
        [path_of(ref, context.folders) for ref in request[name]] for name in ("row_pictures", "column_pictures")
    )
    condition = with_paths(request["condition"], context.folders)
    made = mix(
        model,
        rows=request["rows"],
        columns=request["columns"],
        row_pictures=rows,
        column_pictures=columns,
        layers=request["layers"],
        share=request["share"],
        how=Sampling(**request["knobs"]),
        report=context.progress,
        **condition,
    )
    files = made.pictures.save(context.draft)
    made.save(context.draft / GRID)
    layers = None if made.layers is None else [made.layers.start, made.layers.stop]
    return {
        "pictures": [picture_entry(context, file, {}) for file in files],
        "files": [GRID],
        "command": mix_command(request, rows, columns, condition),
        "facts": {"columns": made.columns, "layers": layers, "share": made.share},
    }


def found_directions(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis directions``, found once for one setting of one model: the sheet, the file, and the names."""
    model = context.models.get(request["path"])
    by = request["by"] or ("sefa" if "latent_weights" in model.verbs else "pca")
    kept = _found_once(request, by, model, context)
    for name, target in ((DIRECTIONS, DIRECTIONS), (SHEET, "0000.png")):
        shutil.copyfile(kept / name, context.draft / target)
    held = Directions.read(context.draft / DIRECTIONS, model)
    return {
        "pictures": [picture_entry(context, context.draft / "0000.png", {})],
        "files": [DIRECTIONS],
        "command": directions_command(request, by),
        "facts": {"names": list(held.names), "by": by, "layers": held.layers, "strengths": list(STRENGTHS)},
    }


def _found_once(request: Mapping[str, Any], by: str, model: Model, context: TaskContext) -> Path:
    """The folder of the directions and their sheet; made where they were not found before."""
    asked = [by, *(request[name] for name in ("count", "layers", "samples", "seed"))]
    text = json.dumps([model.weights_sha256, *asked])
    place = context.folders.directions / hashlib.sha256(text.encode()).hexdigest()[:16]
    if not place.is_dir():
        with draft_folder(place) as draft:
            held = find(
                model,
                by,
                request["count"],
                layers=request["layers"],
                samples=request["samples"],
                seed=request["seed"],
                report=context.progress,
            )
            held.save(draft / DIRECTIONS)
            context.progress("what they do", None)
            show(model, held, request["seed"], draft / SHEET)
            draft.rename(place)
    return place


def moved_along(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis sample --direction``: pictures of seeds, or one that is given, moved."""
    model = context.models.get(request["path"])
    file = context.folders.file(request["directions"], DIRECTIONS)
    along = [f"{file}:{name}*{strength:g}" for name, strength in request["strengths"].items()]
    picture = None if request["picture"] is None else path_of(request["picture"], context.folders)
    condition = with_paths(request["condition"], context.folders)
    made = moved(
        model,
        request["n"],
        request["seed"],
        along,
        Sampling(**request["knobs"]),
        pictures=[] if picture is None else [picture],
        **condition,
    )
    return {
        "pictures": [picture_entry(context, path, {}) for path in made.save(context.draft)],
        "command": move_command(request, along, picture, condition),
    }


def bred(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis breed``: one generation, in a folder of its job, its pictures beside that, and who had whom."""
    model, condition = context.models.get(request["path"]), with_paths(request["condition"], context.folders)
    parents = None if request["parents"] is None else context.folders.job(request["parents"])
    made = _generation(request, model, parents, condition, context)
    for file in made.files:
        shutil.copyfile(file, context.draft / file.name)
    shutil.copyfile(made.sheet, context.draft / SHEET)
    return {
        "pictures": [picture_entry(context, context.draft / file.name, {}) for file in made.files],
        "files": [SHEET],
        "command": breed_command(request, parents, condition, f"bred-{context.final.name}"),
        "facts": {"generation": made.number, "parents": [list(pair) for pair in made.parents]},
    }


def projected(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis project``: the nearest picture, and beside it its latent and the page with the one that was given."""
    model, picture = context.models.get(request["path"]), path_of(request["picture"], context.folders)
    condition = with_paths(request["condition"], context.folders)
    out = context.draft / "0000.png"
    made = project(
        model,
        picture,
        steps=request["steps"],
        seed=request["seed"],
        each_layer=request["each_layer"],
        features=request["features"],
        out=out,
        report=context.progress,
        **condition,
    )
    files = made.save(out)
    note = size_note(model, picture)
    return {
        "pictures": [picture_entry(context, files[0], condition)],
        "files": [file.name for file in files[1:]],
        "command": project_command(request, picture, condition),
        "notes": [] if note is None else [note.replace(picture.name, "the picture", 1)],  # its name is our own
        "facts": {
            "psnr": made.psnr,
            "features": made.features,
            "before": asdict(made.before),
            "after": asdict(made.after),
        },
    }


def _generation(
    request: Mapping[str, Any],
    model: Model,
    parents: Path | None,
    condition: Mapping[str, Any],
    context: TaskContext,
) -> Generation:
    n, seed, progress = request["n"], request["seed"], context.progress
    if parents is None:
        how = Sampling(**request["knobs"])
        return begin(model, context.draft, n=n, seed=seed, how=how, report=progress, **condition)
    return breed(
        parents,
        request["pick"],
        n=n,
        mutation=request["mutation"],
        seed=seed,
        model=model,
        out=context.draft,
        report=progress,
    )
