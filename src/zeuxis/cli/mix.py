"""``zeuxis mix``: pictures mixed two by two, by layers of their styles or by a share of the way."""

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
    model: Annotated[str, typer.Argument(help="A shipped model or a run folder of one that decodes latents.")],
    rows: Annotated[
        str | None, typer.Option("--rows", metavar="1,2,3", help="Seeds that are mixed; by default five.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="11-15", help="Seeds that they are mixed with; by default five.")
    ] = None,
    row_picture: Annotated[
        list[str] | None,
        typer.Option("--row-picture", metavar="FILE", help="A picture of your own that is mixed; repeat."),
    ] = None,
    column_picture: Annotated[
        list[str] | None,
        typer.Option("--column-picture", metavar="FILE", help="One that they are mixed with; repeat."),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            metavar="coarse|middle|fine|A-B",
            help="Of style codes: the layers that are the columns'.",
            show_default="coarse",
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            "--share",
            help="How far latents go from row to column, 0 to 1.",
            show_default="0.5, without a style space",
        ),
    ] = None,
    seed: Seed = 0,
    knob: Knobs = None,
    device: DeviceName = "cpu",
    out: Out = None,
    as_json: Json = False,
    **asked: Any,
) -> None:
    """Mix pictures: a grid of every row's picture with every column's, by layers of styles or half the way."""
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
            rows=numbers(rows, "--rows") if rows else [] if row_picture else list(range(seed, seed + SIDE)),
            columns=numbers(columns, "--columns")
            if columns
            else []
            if column_picture
            else list(range(seed + SIDE, seed + 2 * SIDE)),
            row_pictures=row_picture or (),
            column_pictures=column_picture or (),
            layers=layers,
            share=share,
            how=how,
            report=progress,
            **steering(asked),
        )
        file = made.save(target)
    if as_json:
        emit({"file": file, "layers": None if made.layers is None else list(made.layers), "share": made.share})
    elif made.layers is None:
        say(f"{made.share:g} of the way from rows to columns -> {file}")
    else:
        say(f"layers {made.layers.start} to {made.layers.stop - 1} of the columns -> {file}")
