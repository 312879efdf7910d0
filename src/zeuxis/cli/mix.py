"""``zeuxis mix``: some layers of a picture with the styles of another."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zeuxis.cli.options import (
    CONDITION_OPTIONS,
    KNOBS,
    DeviceName,
    Json,
    Knobs,
    Out,
    Seed,
    loaded,
    sampling,
    steering,
)
from zeuxis.cli.output import emit, own_file, say
from zeuxis.cli.progress import Progress
from zeuxis.signature import taking

SIDE = 5  # seeds of the rows and of the columns where none are given


@taking(CONDITION_OPTIONS | KNOBS)
def mix(
    model: Annotated[str, typer.Argument(help="A run folder of a model with a style space, such as stylegan2.")],
    rows: Annotated[
        str | None, typer.Option("--rows", metavar="1,2,3", help="Seeds that are given styles; by default five.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="11-15", help="Seeds that give them; by default five more.")
    ] = None,
    layers: Annotated[
        str, typer.Option("--layers", metavar="coarse|middle|fine|A-B", help="In which layers.")
    ] = "coarse",
    seed: Seed = 0,
    knob: Knobs = None,
    device: DeviceName = "cpu",
    out: Out = None,
    as_json: Json = False,
    **asked: Any,
) -> None:
    """Mix styles: a grid in which every row's picture has every column's styles in some layers."""
    from zeuxis.api.latents import must_take_sheet
    from zeuxis.api.mix import mix as work
    from zeuxis.api.walk import numbers

    target = out or own_file(model, "mix")
    must_take_sheet(target)
    found = loaded(model, device, None, None)
    how = sampling(found, {name: asked[name] for name in KNOBS}, knob)
    with Progress() as progress:
        made = work(
            found,
            rows=list(range(seed, seed + SIDE)) if rows is None else numbers(rows, "--rows"),
            columns=list(range(seed + SIDE, seed + 2 * SIDE)) if columns is None else numbers(columns, "--columns"),
            layers=layers,
            how=how,
            report=progress,
            **steering(asked),
        )
        file = made.save(target)
    if as_json:
        emit({"file": file, "layers": list(made.layers)})
    else:
        say(f"layers {made.layers.start} to {made.layers.stop - 1} of the columns -> {file}")
