"""``zeuxis project``: the latent of a generator whose picture is nearest to one of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zeuxis.cli.options import CONDITION_OPTIONS, DeviceName, Json, Out, Seed, loaded, steering
from zeuxis.cli.output import emit, note, own_file, say
from zeuxis.cli.progress import Progress
from zeuxis.escaping import word
from zeuxis.signature import taking


@taking(CONDITION_OPTIONS)
def project(
    model: Annotated[str, typer.Argument(help="A run folder of a GAN, or another model that decodes what it draws.")],
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="The picture that is looked for.")],
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of the optimisation.")] = 1000,
    each_layer: Annotated[
        bool,
        typer.Option("--each-layer", help="A style code for each layer (W+): nearer, but further from what it draws."),
    ] = False,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            metavar="NAME|pixels",
            help="What compares beside the pixels: a classifier, judge or segmenter, or efficientnet-lite0.",
            show_default="the shipped judge of the model's data, if any",
        ),
    ] = None,
    seed: Seed = 0,
    device: DeviceName = "cpu",
    out: Out = None,
    as_json: Json = False,
    **asked: Any,
) -> None:
    """Project a picture into latent space (GAN inversion): writes the nearest that a model draws, and its latent."""
    from zeuxis.api.project import project as work
    from zeuxis.api.project import size_note

    target = out or own_file(model, "project")
    found = loaded(model, device, None, None)
    with Progress() as progress:
        made = work(
            found,
            picture,
            steps=steps,
            seed=seed,
            each_layer=each_layer,
            features=features,
            out=target,
            report=progress,
            **steering(asked),
        )
    files = made.save(target)
    if as_json:
        emit({"files": files, "psnr": made.psnr, "before": made.before, "after": made.after, **made.facts})
        return
    if told := size_note(found, picture):
        note(f"note: {told}")
    near = "" if made.after.features is None else f", {made.after.features:.3f} in the features of {made.features}"
    say(f"{files[0]}: {made.psnr:.1f} dB from {picture.name}{near}")
    say(f"beside it -> {files[2]}")
    say(f"its latent -> {files[1]}; walk there: zeuxis walk {word(model)} --seeds 1 --latents {word(files[1])}")
