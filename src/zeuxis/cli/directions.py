"""``zeuxis directions``: along which pictures change in one respect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from zeuxis.cli.options import DeviceName, Json, Out, PriorData, PriorName, Seed, loaded, only
from zeuxis.cli.output import emit, own_file, say
from zeuxis.cli.progress import Progress
from zeuxis.escaping import word


def directions(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A shipped model or a run folder of one that decodes latents.")],
    by: Annotated[
        Literal["sefa", "pca"] | None,
        typer.Option("--by", help="sefa: in closed form, from the weights; pca: principal components."),
    ] = None,
    total: Annotated[
        str | None,
        typer.Option(
            "--sum",
            metavar='"A=B,C=D - C=D + C=E"',
            help="Mean latents of pictures with these factors or labels, added and subtracted.",
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="How many directions, the strongest.")] = 6,
    layers: Annotated[
        str | None, typer.Option("--layers", metavar="coarse|middle|fine|A-B", help="Of style codes: only these.")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=2, help="Latents that are looked at.")] = 2000,
    seed: Seed = 0,
    prior: PriorName = None,
    prior_data: PriorData = None,
    device: DeviceName = "cpu",
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Find directions in latent space; writes them as safetensors, and a sheet of what each does."""
    from zeuxis.api import arithmetic
    from zeuxis.api.directions import SUFFIX, find, must_take_directions, show
    from zeuxis.api.latents import must_take_sheet

    if total is not None:
        names = {parameter.name for parameter in context.command.params}
        only(context, names - {"by", "layers", "count"}, "--sum finds one direction by means")
    found = loaded(model, device, prior, prior_data)
    target = out or own_file(model, "sum" if total else by or "sefa", SUFFIX)
    page: Path = target.with_suffix(".png")
    must_take_directions(target)
    must_take_sheet(page)
    with Progress() as progress:
        if total is not None:
            added = arithmetic.arithmetic(found, total, samples=samples, seed=seed, report=progress)
            held = added.total
            held.save(target)  # before the sheet, which may be too large
            arithmetic.show(found, added, page)
        else:
            way = by or ("sefa" if "latent_weights" in found.verbs else "pca")
            held = find(found, way, count, layers=layers, samples=samples, seed=seed, report=progress)
            held.save(target)
            show(found, held, seed, page)
    if as_json:
        emit({"file": target, "sheet": page, **held.facts()})
        return
    say(f"{len(held.names)} {held.kind if len(held.names) > 1 else held.kind.removesuffix('s')} -> {target}")
    say(f"what they do -> {page}")
    if held.kind == "directions":
        name = "" if len(held.names) == 1 else f":{held.names[0]}"
        say(f"move pictures along one: zeuxis sample {word(model)} --direction '{target}{name}*2'")
    else:
        say(f"walk there: zeuxis walk {word(model)} --seeds 1 --latents {target}")
