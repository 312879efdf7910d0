"""``zeuxis restore``: better pictures of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zeuxis.cli.made import tell
from zeuxis.cli.options import DeviceName, Json, Out
from zeuxis.cli.output import emit, note, say, table
from zeuxis.cli.progress import Progress
from zeuxis.errors import UsageError

if TYPE_CHECKING:
    from zeuxis.api.restore import Restoration
    from zeuxis.api.restore_look import Looked
    from zeuxis.api.restore_measure import Measured
    from zeuxis.api.restore_models import AtHand


# What is asked of all that a look proposes, and has no meaning for one of them.
NOT_OF_STEPS: Mapping[str, Mapping[str, object]] = {"colorize": {"fidelity": None}, "face": {"ensemble": False}}


def restore(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH...", help="Pictures, or folders, which are walked.")
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
            metavar="enlarge:2|enlarge:4|denoise|deblur|jpeg|colorize|face|inpaint:MASK|panorama:FACTOR",
            help="By default what the model was trained for; without one too, the picture is looked at.",
        ),
    ] = None,
    knobs: Annotated[
        list[str] | None,
        typer.Option("--knob", metavar="NAME=VALUE", help="Turn a knob of a run's model; may be repeated."),
    ] = None,
    fidelity: Annotated[
        float | None,
        typer.Option(
            "--fidelity",
            min=0.0,
            max=1.0,
            help="0 is bold; at 1 what the damage left (the small picture, what is coarse) is kept.",
            show_default="0",
        ),
    ] = None,
    ensemble: Annotated[
        bool,
        typer.Option(
            "--self-ensemble",
            help="Ask the model of each picture turned and mirrored in all eight ways, and take the mean: nearer to the"
            " truth, eight times as slow.",
        ),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Where the draws begin, of a model that draws.", show_default="0"),
    ] = None,
    face: Annotated[
        list[str] | None,
        typer.Option(
            "--face",
            metavar="X,Y,W,H",
            help="Where a face is, of task face: left, top, width and height of the head in pixels; may be repeated.",
            show_default="looked for",
        ),
    ] = None,
    pair: Annotated[
        str | None,
        typer.Option(
            "--pair",
            metavar="CHAIN",
            help='Damage the pictures first ("bicubic:4"), and measure how near what is restored comes to them.',
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="FOLDER|FILE",
            help="What the pictures truly are, by their names (0001.png of 0001x4.png): measure how near they come.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            help="Of --pair or --against: psnr, psnr-y, ssim-y, consistency, perceptual or frechet-imagenet; may be"
            " repeated.",
            show_default="the first four",
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
    from zeuxis.api.restore_paths import paths_of

    if models:
        known = published()
        if as_json:
            emit(known)
            return
        rows = [[one.name, one.task, one.about, _knobs(one), _at_hand(one)] for one in known]
        table("", ["model", "task", "for", "--knob", "at hand"], rows)
        for licence in dict.fromkeys(one.licence for one in known):
            say(f"{', '.join(one.name for one in known if one.licence == licence)}: {licence}")
        return
    if not paths:
        raise UsageError("say which picture or folder: zeuxis restore photo.jpg")
    if pair is not None or against is not None:
        if pair is not None and against is not None:
            raise UsageError("--pair damages pictures, and those of --against are damaged: leave one of them out")
        writing: dict[str, object] = {
            "--out": out,
            "--overwrite": overwrite or None,
            "--tile": tile,
            "--page": page,
            "--face": face or None,
            "--seed": seed,
        }
        if idle := [option for option, value in writing.items() if value is not None]:
            option = f"--against {against}" if pair is None else f"--pair {pair}"
            raise UsageError(f"{option} measures, and writes no picture: leave {', '.join(idle)} out")
        places = paths_of(paths)
        _measure(places, model, pair, against, task, metric or (), knobs or (), fidelity, ensemble, device, as_json)
        return
    if metric:
        raise UsageError(
            f"--metric {metric[0]} is of pictures whose truth is known: give --pair, which damages them first, or "
            "--against too"
        )
    from zeuxis.api.restore import restore as restored

    work = partial(
        restored,
        overwrite=overwrite,
        tile=tile,
        page=page,
        fidelity=fidelity,
        ensemble=ensemble,
        seed=seed,
        device=device,
    )
    if model is None and task is None:
        of_model = {"--knob": knobs or None, "--face": face or None, "--seed": seed}
        if given := [option for option, value in of_model.items() if value is not None]:
            raise UsageError(f"{given[0]} is of a model or a task: say --task or --model too")
        _look(paths_of(paths), out, work, as_json)
        return
    with Progress() as progress:
        made = work(paths, model, task, out, knobs=knobs or (), faces=face or (), report=progress)
    lines = [f"{path.name}: {moved}" for path, moved in made.faces]
    tell(made, f", {made.task} by {made.model}", "restored", made.page, as_json, lines)


def _knobs(one: AtHand) -> str:
    return "; ".join(f"{name}: {values}" for name, values in one.knobs.items())


def _at_hand(one: AtHand) -> str:
    return "yes" if one.here else f"pip install {one.package}"


def _look(paths: Sequence[Path], out: Path | None, work: Callable[..., Restoration], as_json: bool) -> None:
    """Say what seems wrong with a picture and what would mend it, and do what can be done now."""
    from zeuxis.api.restore_look import look
    from zeuxis.api.restore_steps import restore_in_steps

    if len(paths) > 1 or paths[0].is_dir():
        raise UsageError("say what to do with them, --task enlarge:2 or --model RUN: one picture alone is looked at")
    found = look(paths[0])
    if not as_json:
        _tell_look(found)

    def step(picture: Path, task: str, target: Path) -> Restoration:
        with Progress() as progress:
            one = work([picture], None, task, target, report=progress, **NOT_OF_STEPS.get(task, {}))
        if not as_json:
            tell(one, f", {one.task} by {one.model}", "restored", one.page, as_json)
        return one

    made = restore_in_steps(found, out, step)
    if as_json:
        emit({"looked": found, "made": made[-1] if made else None, "steps": made})
    if found.steps and not made:
        raise typer.Exit(1)


def _tell_look(found: Looked) -> None:
    rows = [
        [
            one.name,
            "-" if one.value is None else f"{one.value:.3g}",
            f"{one.bound:.3g}",
            one.note,
            "yes" if one.wrong else "",
        ]
        for one in found.estimates
    ]
    table(f"{found.picture}, {found.width}x{found.height} pixels", ["", "is", "bound", "", "to be mended"], rows)
    if found.flat:
        say("it is of a single colour, or nearly: there is nothing in it to sharpen, to colour or to enlarge")
    if not found.steps:
        say("nothing to mend was seen; --task does what you ask for")
    for k, step in enumerate(found.steps, 1):
        say(f"{k}. {step.command}")
        if step.lacks is not None:
            say(f"   no model for it is at hand: {step.lacks}")
    if found.steps and not found.at_hand:
        say("nothing was restored: give --model with what was named")


def _measure(
    paths: Sequence[Path],
    model: str | None,
    pair: str | None,
    against: Path | None,
    task: str | None,
    metrics: Sequence[str],
    knobs: Sequence[str],
    fidelity: float | None,
    ensemble: bool,
    device: str,
    as_json: bool,
) -> None:
    from zeuxis.api.restore_measure import KNOWN, measure_restorer

    with Progress() as progress:
        found = measure_restorer(
            paths,
            model,
            pair,
            task,
            against=against,
            metrics=metrics,
            knobs=knobs,
            fidelity=fidelity,
            ensemble=ensemble,
            device=device,
            report=progress,
        )
    if as_json:
        emit(found)
        return
    shown = [name for name in metrics or KNOWN if any(name in one.restored for one in found)]
    rows = [[one.name, *(_cell(one, name) for name in shown)] for one in found]
    damaged = "as it was given" if pair is None else f"as it was damaged by {pair}"
    table(f"restored, and {damaged}", ["picture", *shown], rows)
    for one in found:
        for line in one.notes:
            note(f"note: {line}")


def _cell(one: Measured, name: str) -> str:
    return f"{one.restored[name]:.4g} ({one.damaged[name]:.4g})" if name in one.restored else "-"
