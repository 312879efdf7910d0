"""``zeuxis edit``: a picture made into another by a diffusion model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zeuxis.cli import completing
from zeuxis.cli.options import CONDITION_OPTIONS, KNOBS, DeviceName, Json, Knobs, Out, Seed, loaded, sampling, steering
from zeuxis.cli.output import emit, note, say
from zeuxis.cli.sample import own_folder
from zeuxis.signature import taking

TOLD = {name: option for name, option in CONDITION_OPTIONS.items() if name not in ("source", "mask")}
TURNED = {name: option for name, option in KNOBS.items() if name != "strength"}


@taking(TOLD | TURNED)
def edit(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A shipped model or a run folder that draws in steps.",
            autocompletion=completing.models,
        ),
    ],
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="The picture to begin from.")],
    mask: Annotated[
        Path | None,
        typer.Option("--mask", metavar="PICTURE", help="What is to be made: where this is light or transparent."),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength",
            min=0.0,
            max=1.0,
            help="Share of the steps that are taken: the less, the nearer to the picture.",
            show_default="0.6, with a mask 1",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 1,
    seed: Seed = 0,
    knob: Knobs = None,
    out: Out = None,
    device: DeviceName = "cpu",
    as_json: Json = False,
    **asked: Any,
) -> None:
    """Draw from a picture under noise, or what a mask marks. The same seed gives the same picture."""
    from zeuxis.api.edit import edit as work
    from zeuxis.api.restore_picture import header_of
    from zeuxis.provenance.record import read_record

    found = loaded(model, device, None, None)
    how = sampling(found, {name: asked[name] for name in TURNED}, knob)
    told = steering({**asked, "source": None, "mask": None})
    steered = {name: value for name, value in told.items() if value is not None}
    made = work(found, picture, mask, n, seed, strength=strength, knobs=how, **steered)
    _, height, width = found.system.shape
    given = header_of(picture)
    if (given.width, given.height) != (width, height):
        note(
            f"note: {picture.name} has {given.width}x{given.height} pixels, and '{found.name}' learnt {width}x{height}:"
            " its middle was brought to that"
        )
    files = made.save(out or own_folder(model, seed), add=True)
    if as_json:
        emit({"files": files, "records": [read_record(file) for file in files]})
    else:
        say(f"{files[0]}" if len(files) == 1 else f"{len(files)} pictures -> {files[0]} to {files[-1].name}")
