"""What the worker does for each kind of job but drawing: a call of the library, its files, and what is told of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from zeuxis.api.code_file import SUFFIX, described, write_codes
from zeuxis.api.coding import decode, encode
from zeuxis.api.diagnose import diagnose
from zeuxis.api.edit import edit
from zeuxis.api.examples import example_of, prepared
from zeuxis.api.paint import class_table, drawn_as, paint
from zeuxis.api.replay import likeness, replay
from zeuxis.api.restore import restore
from zeuxis.api.restore_look import look
from zeuxis.api.translate import translate
from zeuxis.conditions import FIELDS
from zeuxis.fetching import named_by
from zeuxis.knobs import Knob
from zeuxis.spec import parse_size
from zeuxis.steps import observed
from zeuxis.studio import latent_tasks
from zeuxis.studio.commands import (
    diagnose_command,
    edit_command,
    encode_command,
    example_command,
    look_command,
    paint_command,
    replay_command,
    restore_command,
    translate_command,
)
from zeuxis.studio.folders import path_of, with_paths
from zeuxis.studio.models import knob_dict
from zeuxis.studio.progress import DrawProgress, JobProgress, StepCheck
from zeuxis.studio.task_context import TaskContext, picture_entry


def restored(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis restore``, picture by picture."""
    paths = [path_of(ref, context.folders) for ref in request["pictures"]]
    task, knobs = request["task"], request["knobs"]
    if task == "inpaint" and request["mask"] is not None:
        task = f"inpaint:{path_of(request['mask'], context.folders)}"
    told, notes, made = [f"{name}={value}" for name, value in knobs.items()], list[str](), None
    fidelity, seed = request.get("fidelity"), request.get("seed")  # queues of before 2026-12 have none
    ensemble = request.get("ensemble", False)
    for k, path in enumerate(paths):
        out = context.draft / f"{k:04d}.png"
        report = _part(context.progress, k, len(paths))
        made = restore(
            [path], request["path"], task, out,
            knobs=told, fidelity=fidelity, seed=seed, ensemble=ensemble, tile=request["tile"], page=False,
            report=report,
        )  # fmt: skip
        notes += made.notes
    assert made is not None  # there is one picture at least
    files = [context.draft / f"{k:04d}.png" for k in range(len(paths))]
    return {
        "pictures": [picture_entry(context, file) for file in files],
        "command": restore_command(paths, request["path"], task, request["tile"], knobs, fidelity, seed, ensemble),
        "notes": notes,
        "facts": {"model": made.model, "task": made.task, "licence": made.licence},
    }


def translated(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis translate``, picture by picture."""
    model = context.models.get(request["path"])
    paths = [path_of(ref, context.folders) for ref in request["pictures"]]
    size = request["size"] if request["size"] == "own" else parse_size(request["size"])
    asked: dict[str, Any] = {"seed": request["seed"], "size": size, "knobs": request["knobs"]}
    notes, files = list[str](), list[Path]()
    for k, path in enumerate(paths):
        out = context.draft / f"{k:04d}.png"
        report = _part(context.progress, k, len(paths))
        made = translate(model, [path], out, **asked, invert=request["invert"], page=False, report=report)
        files += made.done
        notes += made.notes
    command = translate_command(
        request["path"], paths, request["seed"], request["size"], request["knobs"], request["invert"]
    )
    return {"pictures": [picture_entry(context, file) for file in files], "command": command, "notes": notes}


def encoded(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis encode`` and ``zeuxis decode``: the codes, and the picture that they make."""
    model, path = context.models.get(request["path"]), path_of(request["picture"], context.folders)
    found = encode(model, path, request["size"])
    codes = context.draft / f"0000{SUFFIX}"
    write_codes(codes, found.coded)
    (file,) = decode(codes).save(context.draft / "0000.png")
    return {
        "pictures": [picture_entry(context, file)],
        "files": [codes.name],
        "command": encode_command(request["path"], path, request["size"]),
        "notes": [] if found.coded.fitted is None else [found.coded.fitted],
        "facts": {"psnr": found.psnr, "greyed": found.greyed, **described(found.coded)},
    }


def replayed(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis sample --replay``: the picture again, and how far it is from the one that was given."""
    given = path_of(request["picture"], context.folders)
    condition = with_paths(request["condition"], context.folders)
    made, differs = replay({**request["record"], "model": request["path"]}, context.models.device, **condition)
    files = made.save(context.draft / "0000.png")
    with Image.open(given) as before:
        found = likeness(made[0], before)
    return {
        "pictures": [picture_entry(context, files[0], condition)],
        "command": replay_command(given, condition),
        "notes": differs,
        "facts": {"identical": found.identical, "same": found.same, "levels": found.levels},
    }


def described_model(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """What a model obeys and what of it can be turned, as it was built."""
    model = context.models.get(request["path"])
    system, spec = model.system, model.spec
    painted = "layout" in system.conditions or drawn_as(model) is not None
    layouts = class_table(model) if painted and spec.layout_names else []
    facts = {
        "name": request["model"],
        "system": system.card.id,
        "verbs": sorted(model.verbs),
        "latents": system.card.latents if "decode" in model.verbs else None,
        "style_layers": system.style_layers,
        "conditions": [
            {
                "name": name,
                "kind": FIELDS[name].kind,
                "required": name not in system.optional,
                "meaning": FIELDS[name].meaning,
            }
            for name, field in FIELDS.items()
            if name in system.conditions
        ],
        "knobs": [knob_dict(knob) for knob in model.knobs.values() if isinstance(knob, Knob)],
        "shape": list(system.shape),
        "source_shape": None if spec.source_shape is None else list(spec.source_shape),
        "stride": system.stride,
        "classes": list(spec.class_names),
        "layouts": layouts,
        "factors": [list(factor) for factor in spec.factors],
    }
    return {"pictures": [], "command": f"zeuxis info {request['path']}", "notes": [], "facts": facts}


def painted(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis paint``: pictures of a layout."""
    model, layout = context.models.get(request["path"]), path_of(request["layout"], context.folders)
    style = None if request["style"] is None else path_of(request["style"], context.folders)
    made = paint(model, layout, style, n=request["n"], seed=request["seed"], knobs=request["knobs"])
    files = made.save(context.draft)
    command = paint_command(request["path"], layout, style, request["n"], request["seed"], request["knobs"])
    return {"pictures": [picture_entry(context, file) for file in files], "command": command, "notes": []}


def edited(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis edit``: pictures made of one."""
    model, n = context.models.get(request["path"]), request["n"]
    picture = path_of(request["picture"], context.folders)
    mask = None if request["mask"] is None else path_of(request["mask"], context.folders)
    told, turned = with_paths(request["condition"], context.folders), request["knobs"]
    partials = {job: (0, request["partials"]) for job in context.progress.jobs}
    with observed(DrawProgress(context.progress, model, 0, n, n, partials)):
        made = edit(model, picture, mask, n, request["seed"], strength=request["strength"], knobs=turned, **told)
    shown = {"source": str(picture)} if mask is None else {"source": str(picture), "mask": str(mask)}
    files = made.save(context.draft)
    command = edit_command(request["path"], picture, mask, request["strength"], n, request["seed"], told, turned)
    return {"pictures": [picture_entry(context, file, shown) for file in files], "command": command, "notes": []}


def example_shown(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """A training example of a model's data: files, for it was not made by a model, and carries no record."""
    found = example_of(context.models.get(request["path"]), request["seed"])
    files = {name: f"{name}.png" for name in found.pictures}
    for name, shown in found.pictures.items():
        shown.save(context.draft / files[name])
    return {
        "pictures": [],
        "files": list(files.values()),
        "command": example_command(found.data),
        "notes": [],
        "facts": {"data": found.data, "number": found.number, "pictures": files, "told": found.told},
    }


def prepared_source(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """A picture as a model has learnt to be given it: a file, for no model made it, and it carries no record."""
    made = prepared(context.models.get(request["path"]), path_of(request["picture"], context.folders), request["seed"])
    made.picture.save(context.draft / "0000.png")
    return {
        "pictures": [],
        "files": ["0000.png"],
        "command": example_command(made.data),
        "notes": [],
        "facts": {"data": made.data, "degradation": made.degradation},
    }


def looked_at(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis restore PICTURE`` without a task: what seems wrong, and what is proposed."""
    path = path_of(request["picture"], context.folders)
    found = look(path)
    facts = {
        "width": found.width,
        "height": found.height,
        "estimates": [asdict(one) for one in found.estimates],
        "steps": [{"task": one.task, "command": one.command, "lacks": one.lacks} for one in found.steps],
    }
    return {"pictures": [], "command": look_command(path), "notes": [], "facts": facts}


def diagnosed(request: Mapping[str, Any], context: TaskContext) -> dict[str, Any]:
    """``zeuxis diagnose``: each failure that was found, what shows it and what mends it, in words."""
    folder = context.folders.runs / request["folder"]
    with named_by("the run", "zeuxis data NAME, at a terminal, gets it once"), observed(StepCheck(context.progress)):
        found = diagnose(folder, samples=request["samples"], device=context.models.device, report=context.progress)
    findings = [{"name": f.name, "evidence": f.evidence, "mend": f.mend} for f in found.findings]
    looked = ", ".join(found.looked_at)
    facts = {
        "run": request["folder"],
        "findings": findings,
        "verdict": f"{len(findings)} of the usual failures" if findings else "none of the usual failures",
        "looked_at": looked,
        "figures": {name: value for name, value in found.figures.items() if math.isfinite(value)},
    }
    return {"pictures": [], "command": diagnose_command(str(folder), request["samples"]), "notes": [], "facts": facts}


TASKS: Mapping[str, Callable[[Mapping[str, Any], TaskContext], dict[str, Any]]] = {
    "restore": restored,
    "translate": translated,
    "encode": encoded,
    "replay": replayed,
    "describe": described_model,
    "paint": painted,
    "edit": edited,
    "example": example_shown,
    "prepare": prepared_source,
    "look": looked_at,
    "diagnose": diagnosed,
    "walk": latent_tasks.walked,
    "mix": latent_tasks.mixed,
    "directions": latent_tasks.found_directions,
    "move": latent_tasks.moved_along,
    "breed": latent_tasks.bred,
    "project": latent_tasks.projected,
}


def _part(progress: JobProgress, done: int, of: int) -> Callable[[str, float | None], None]:
    """A report of one picture among several."""
    return lambda message, fraction: progress(message, (done + (fraction or 0.0)) / of)
