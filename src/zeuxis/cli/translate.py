"""``zeuxis translate``: pictures into others, by a model that was trained on such pairs or collections."""

from __future__ import annotations

from typing import Annotated

import typer

from zeuxis.cli.made import tell
from zeuxis.cli.options import DeviceName, Json, Knobs, Out, Seed, loaded, sampling
from zeuxis.cli.progress import Progress
from zeuxis.errors import UsageError
from zeuxis.spec import parse_size


def translate(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A run folder, or a model that zeuxis convert made.")
    ] = None,
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH...", help="Pictures, or folders, which are walked.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="SIDE|WIDTHxHEIGHT|own",
            help="Pixels of the shorter side, or both sides, or the picture's own.",
            show_default="the model's",
        ),
    ] = None,
    seed: Seed = 0,
    knob: Knobs = None,
    out: Out = None,
    invert: Annotated[
        bool, typer.Option("--invert", help="Change light and dark first: of a drawing on paper, for a model of edges.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    sheet: Annotated[
        bool, typer.Option("--sheet/--no-sheet", help="Also a page of the pictures before and after.")
    ] = True,
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Translate a picture, or a folder, which goes on where it stopped. Originals stay as they are."""
    if model is None or not paths:
        raise UsageError("say by which model, and which picture or folder: zeuxis translate RUN drawing.png")
    from zeuxis.api.translate import OWN
    from zeuxis.api.translate import translate as work

    wanted = OWN if size == OWN else parse_size(size)
    found = loaded(model, device, None, None)
    with Progress() as progress:
        made = work(
            found,
            paths,
            out,
            seed=seed,
            size=wanted,
            knobs=sampling(found, {}, knob),
            invert=invert,
            overwrite=overwrite,
            page=sheet,
            report=progress,
        )
    tell(made, f" by {found.name}", "translated", made.sheet, as_json)
