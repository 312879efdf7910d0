"""``zeuxis style``: a photograph in the style of a painting, or of another photograph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from zeuxis.cli.options import DeviceName, Json, Out, Seed
from zeuxis.cli.output import emit, note, say
from zeuxis.cli.progress import Progress
from zeuxis.errors import UsageError

ALIKE = 1e-6  # of the style's loss: below, two pictures have one style


def style(
    photo: Annotated[Path | None, typer.Argument(metavar="PICTURE", help="What is to be seen.")] = None,
    like: Annotated[
        list[Path] | None,
        typer.Option("--like", metavar="PICTURE", help="In whose style; repeat for several, one result each."),
    ] = None,
    photographic: Annotated[
        bool, typer.Option("--photo", help="Edges stay where they are: a photograph in another's light and colours.")
    ] = False,
    size: Annotated[int, typer.Option("--size", metavar="PIXELS", help="Of the longer side.")] = 384,
    weight: Annotated[
        float | None,
        typer.Option("--weight", help="Of the style; the content's is 1.", show_default="40"),
    ] = None,
    iterations: Annotated[int, typer.Option("--iterations", min=1, help="At each of three scales.")] = 150,
    optimiser: Annotated[
        Literal["adam", "lbfgs"], typer.Option("--optimiser", help="How the pixels are moved.")
    ] = "adam",
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            metavar="NAME",
            help="What compares them: a classifier, judge or segmenter.",
            show_default="efficientnet-lite0",
        ),
    ] = None,
    segmenter: Annotated[
        str | None,
        typer.Option("--segmenter", metavar="MODEL", help="Each kind of thing takes the style of its own kind."),
    ] = None,
    seed: Seed = 0,
    out: Out = None,
    sheet: Annotated[bool, typer.Option("--sheet/--no-sheet", help="Also a page of all that was given.")] = True,
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Make a picture in the style of another. Originals stay as they are."""
    if photo is None or not like:
        raise UsageError("say which picture, and in whose style: zeuxis style photo.jpg --like painting.jpg")
    from zeuxis.api.style import style as work
    from zeuxis.pretrained.efficientnet_files import NAME

    with Progress() as progress:
        found = work(
            photo,
            like,
            out,
            photographic=photographic,
            size=size,
            weight=weight,
            iterations=iterations,
            optimiser=optimiser,
            features=features or NAME,
            segmenter=segmenter,
            seed=seed,
            page=sheet,
            device=device,
            report=progress,
        )
    for text in found.notes:
        note(f"note: {text}")
    if as_json:
        emit(found)
        return
    for one in found.made:
        kept, before, after = one.after["content"], one.before["style"], one.after["style"]
        style = f"style {after / before:.0%} as far as before" if before > ALIKE else "it was in this style already"
        say(f"like {one.like.name} -> {one.file} ({style}, content {kept:.2f} away)")
    if found.sheet:
        say(f"beside what was given -> {found.sheet}")
