"""``zeuxis restore``: better pictures of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zeuxis.api.naming import counted
from zeuxis.cli.options import DeviceName, Json, Out
from zeuxis.cli.output import emit, note, say, table
from zeuxis.cli.progress import Progress
from zeuxis.errors import UsageError

if TYPE_CHECKING:
    from zeuxis.api.restore import Restoration
    from zeuxis.api.restore_measure import Measured


def restore(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH...", help="Pictures, or folders, which are walked.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME|FILE|RUN",
            help="A published model, a checkpoint's file, or the run of a restorer.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="enlarge:2|enlarge:4|denoise|deblur|jpeg|colorize|inpaint:MASK",
            help="By default what the model was trained for.",
        ),
    ] = None,
    knobs: Annotated[
        list[str] | None,
        typer.Option("--knob", metavar="NAME=VALUE", help="Turn a knob of a run's model; may be repeated."),
    ] = None,
    pair: Annotated[
        str | None,
        typer.Option(
            "--pair",
            metavar="CHAIN",
            help='Damage the pictures first ("bicubic:4"), and measure how near what is restored comes to them.',
        ),
    ] = None,
    out: Out = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there, originals too.")
    ] = False,
    tile: Annotated[
        int | None,
        typer.Option("--tile", min=8, help="Pixels a side given at a time.", show_default="what memory allows"),
    ] = None,
    page: Annotated[
        bool | None,
        typer.Option("--page/--no-page", help="A page of before and after.", show_default="for folders"),
    ] = None,
    models: Annotated[bool, typer.Option("--models", help="List the published models, and restore nothing.")] = False,
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Restore photographs: a picture, or a folder, which goes on where it stopped. Originals stay as they are."""
    from zeuxis.api.restore_models import published
    from zeuxis.pretrained.upscalers import EXTRA

    if models:
        known = published()
        if as_json:
            emit(known)
            return
        rows = [[one.name, one.task, one.about, "yes" if one.here else EXTRA, one.licence] for one in known]
        table("", ["model", "task", "for", "at hand", "licence"], rows)
        return
    if not paths:
        raise UsageError("say which picture or folder: zeuxis restore photo.jpg --task enlarge:4")
    if pair is not None:
        writing = {"--out": out, "--overwrite": overwrite or None, "--tile": tile, "--page": page}
        if idle := [option for option, value in writing.items() if value is not None]:
            raise UsageError(f"--pair {pair} measures, and writes no picture: leave {', '.join(idle)} out")
        _measure(paths, model, pair, task, knobs or (), device, as_json)
        return
    from zeuxis.api.restore import restore as work

    with Progress() as progress:
        made = work(
            paths,
            model,
            task,
            out,
            knobs=knobs or (),
            overwrite=overwrite,
            tile=tile,
            page=page,
            device=device,
            report=progress,
        )
    for line in (*(f"note: {text}" for text in made.notes), *made.problems):
        note(line)
    if as_json:
        emit(made)
    else:
        _summary(made)
    if made.failed:
        raise typer.Exit(1)


def _measure(
    paths: Sequence[Path],
    model: str | None,
    pair: str,
    task: str | None,
    knobs: Sequence[str],
    device: str,
    as_json: bool,
) -> None:
    from zeuxis.api.restore_measure import METRICS, measure_restorer

    with Progress() as progress:
        found = measure_restorer(paths, model, pair, task, knobs=knobs, device=device, report=progress)
    if as_json:
        emit(found)
        return
    shown = [name for name in METRICS if any(name in one.restored for one in found)]
    rows = [[one.name, *(_cell(one, name) for name in shown)] for one in found]
    table(f"restored, and as it was damaged by {pair}", ["picture", *shown], rows)


def _cell(one: Measured, name: str) -> str:
    return f"{one.restored[name]:.4g} ({one.damaged[name]:.4g})" if name in one.restored else "-"


def _summary(made: Restoration) -> None:
    if made.done:
        say(f"{counted(len(made.done), 'picture')}, {made.task} by {made.model} -> {_place(made.done)}")
    if made.before:
        say(f"done before: {len(made.before)}")
    if made.problems:
        say(f"not restored: {len(made.problems)}")
    if made.page:
        say(f"before and after -> {made.page}")


def _place(files: Sequence[Path]) -> str:
    """The file, or the folder that all lie in."""
    if len(files) == 1:
        return str(files[0])
    common = next((one for one in files[0].parents if all(file.is_relative_to(one) for file in files)), None)
    return f"{len({file.parent for file in files})} folders" if common is None else str(common)
