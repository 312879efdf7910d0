"""``zeuxis paint``: pictures of a layout, in the style of a picture or in styles of chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli.options import DeviceName, Json, Knobs, Out, PictureSize, Seed, loaded, only, sampling
from zeuxis.cli.output import emit, note, say, table
from zeuxis.cli.sample import own_folder
from zeuxis.errors import UsageError
from zeuxis.spec import parse_size


def paint(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A run folder, or a model that zeuxis convert made.")
    ] = None,
    layout: Annotated[
        Path | None,
        typer.Option("--layout", metavar="PNG", help="A class for every pixel: numbers, or colours (--classes)."),
    ] = None,
    style: Annotated[
        Path | None, typer.Option("--style", metavar="PICTURE", help="The picture whose style is wanted.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--source", metavar="PICTURE", help="What stands beside the layout, of a model trained so."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 1,
    seed: Seed = 0,
    knob: Knobs = None,
    size: PictureSize = None,
    out: Out = None,
    sheet: Annotated[bool, typer.Option("--sheet/--no-sheet", help="Also a page with the layout beside them.")] = True,
    classes: Annotated[
        bool, typer.Option("--classes", help="List the model's classes with their colours, and paint nothing.")
    ] = False,
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Paint a layout. The same seed gives the same picture."""
    if model is None or (layout is None and not classes):
        raise UsageError("say by which model, and which layout: zeuxis paint RUN --layout layout.png")
    from zeuxis.api.paint import beside_layout, class_table, cut_off
    from zeuxis.api.paint import paint as work
    from zeuxis.api.pictures import sheet_beside
    from zeuxis.provenance.record import read_record, save_png

    found = loaded(model, device, None, None)
    if classes:
        only(context, ("model", "classes", "device", "as_json"), "--classes lists them, and paints nothing")
        known = class_table(found)
        if as_json:
            emit(known)
        else:
            table(
                "", ["number", "class", "colour"], [[str(one["number"]), one["name"], one["colour"]] for one in known]
            )
        return
    assert layout is not None  # or it was refused above
    made = work(found, layout, style, source, n, seed, size=parse_size(size), knobs=sampling(found, {}, knob))
    if (told := cut_off(layout, made)) is not None:
        note(f"note: {told}")
    target = out or own_folder(model, seed)
    files = made.save(target, add=True)
    page = None
    if sheet:
        beside = target.suffix.lower() == ".png" and len(files) == 1
        page = target.with_name(f"{target.stem}-sheet.png") if beside else sheet_beside(files, target)
        save_png(beside_layout(found, layout, style, made), page, {**made.records[0], "sheet_of": len(made)})
    if as_json:
        emit({"files": files, "sheet": page, "records": [read_record(file) for file in files]})
    else:
        say(f"{files[0]}" if len(files) == 1 else f"{len(files)} pictures -> {files[0]} to {files[-1].name}")
        if page:
            say(f"beside their layout -> {page}")
