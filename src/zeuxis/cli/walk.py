"""``zeuxis walk``: pictures on the way from one latent to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from zeuxis.cli import completing
from zeuxis.cli.options import (
    CONDITION_OPTIONS,
    KNOBS,
    DeviceName,
    Json,
    Knobs,
    Out,
    PriorData,
    PriorName,
    Seed,
    loaded,
    only,
    sampling,
    steering,
)
from zeuxis.cli.output import emit, note, own_file, say
from zeuxis.cli.progress import Progress
from zeuxis.signature import taking

ENDS = 4  # seeds where none are given


@taking(CONDITION_OPTIONS | KNOBS)
def walk(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="A shipped model or a run folder of one that decodes latents.", autocompletion=completing.models
        ),
    ],
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", metavar="1,4,9", help="The seeds it leads over; by default four from --seed on."),
    ] = None,
    picture: Annotated[
        list[str] | None,
        typer.Option("--picture", metavar="FILE", help="A picture of your own that it leads over; repeat."),
    ] = None,
    latents: Annotated[
        list[Path] | None,
        typer.Option(
            "--latents",
            metavar="FILE",
            help="Latents that it leads over, of zeuxis project, or .npy, .npz, .pt; repeat.",
        ),
    ] = None,
    path: Annotated[
        Literal["auto", "linear", "spherical"],
        typer.Option("--path", help="auto: spherical between normal latents, straight between style codes."),
    ] = "auto",
    frames: Annotated[int, typer.Option("--frames", min=1, help="Pictures from each to before the next.")] = 8,
    loop: Annotated[bool, typer.Option("--loop", help="Go on from the last to the first, without an end.")] = False,
    milliseconds: Annotated[
        int, typer.Option("--milliseconds", min=10, help="How long a frame of a moving picture stays.")
    ] = 80,
    seed: Seed = 0,
    knob: Knobs = None,
    prior: PriorName = None,
    prior_data: PriorData = None,
    device: DeviceName = "cpu",
    out: Out = None,
    as_json: Json = False,
    **asked: Any,
) -> None:
    """Walk through latent space: a sheet (.png), or an animated .webp, .gif or .mp4 with the sheet beside it."""
    from zeuxis.api.walk import numbers
    from zeuxis.api.walk import walk as work

    target = out or own_file(model, "walk")
    given = picture is not None or latents is not None
    names = {parameter.name for parameter in context.command.params}
    if seeds is not None or given:
        only(context, names - {"seed"}, "the walk leads over what is named")
    if target.suffix.lower() == ".png":
        only(context, names - {"milliseconds"}, "a sheet does not move")
    found = loaded(model, device, prior, prior_data)
    how = sampling(found, {name: asked[name] for name in KNOBS}, knob)
    chosen = numbers(seeds, "--seeds") if seeds is not None else [] if given else list(range(seed, seed + ENDS))
    with Progress() as progress:
        made = work(
            found,
            seeds=chosen,
            pictures=picture or (),
            latents=latents or (),
            path=path,
            steps=frames,
            loop=loop,
            how=how,
            out=target,
            report=progress,
            **steering(asked),
        )
        files = made.save(target, milliseconds)
    if as_json:
        emit({"files": files, "pictures": len(made.shown), "path": made.path})
        return
    if loop and made.path == "spherical" and len(chosen) == 2 and not given:
        note("note: of two ends the loop goes there and back on one way; give three or more for a round trip")
    say(f"{len(made.shown)} pictures, {made.path} -> {' and '.join(map(str, files))}")
