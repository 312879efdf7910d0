"""``zeuxis reproduce``: train a recipe, measure it, and say whether its claim holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zeuxis.cli import completing
from zeuxis.cli.options import DeviceName, Json, as_recipes_name, folder
from zeuxis.cli.output import duration, emit, note, say
from zeuxis.cli.stopping import training_progress
from zeuxis.errors import UsageError

if TYPE_CHECKING:
    from zeuxis.api.forecast import Forecast

VERDICTS = {True: "holds", False: "DOES NOT HOLD", None: "measured, nothing claimed yet"}


def reproduce(
    recipe: Annotated[str, typer.Argument(help="A recipe that makes a claim.", autocompletion=completing.recipes)],
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds",
            metavar="0,1,2",
            help="These alone; they join what the result in --out has of others.",
            show_default="the claim's",
        ),
    ] = None,
    device: DeviceName = "cpu",
    out: Annotated[Path, typer.Option("--out", callback=folder, help="The folder of the result and the sheet.")] = Path(
        "results"
    ),
    again: Annotated[
        bool,
        typer.Option("--judge-again", help="Hold the figures in --out against the present bound; measure nothing."),
    ] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Take the place of the result in --out, though that is of another kind of machine."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Prove a recipe's claim: train it, measure it, and write the result. Exit code 1 when it does not hold."""
    from zeuxis.api.evidence import verdict_on
    from zeuxis.api.forecast import forecast
    from zeuxis.api.reproduce import folders, judge_again
    from zeuxis.api.reproduce import reproduce as work
    from zeuxis.recipe import load_recipe

    chosen, plan = None if seeds is None else numbers(seeds), load_recipe(recipe)
    if again:
        if chosen is not None:
            raise UsageError("--judge-again measures nothing, so it has no use for --seeds: give one of them")
        found = judge_again(plan, out=out)
    else:
        with as_recipes_name((recipe,), f"zeuxis data {plan.data} does"):
            note(foretold(forecast(plan, [*folders(plan, seeds=chosen).values()], device)))
            with training_progress() as progress:
                found = work(plan, out=out, seeds=chosen, device=device, replace=replace, report=progress)
    if as_json:
        emit(found)
    else:
        verdict = verdict_on(plan, found, VERDICTS)
        bound = "no bound yet" if found["bound"] is None else f"bound {found['bound']:.4g}"
        rival = f", {found['baseline']} {found['baseline_value']:.4g}" if found["baseline"] else ""
        say(f"{found['recipe']}: {found['metric']} {found['value']:.4g}, {bound}{rival}: {verdict}")
    if found["holds"] is False:
        raise typer.Exit(1)


def foretold(expected: Forecast) -> str:
    """How long it will take here, in words."""
    models = f"{expected.measured} model{'s' if expected.measured > 1 else ''}"
    measuring = None if expected.measuring is None else duration(expected.measured * expected.measuring)
    if not expected.trainings:
        return f"{models} trained already; measuring {measuring or 'takes a while'}"
    if expected.seconds is None or expected.iteration is None:
        return f"{models} to be learnt in closed form, in one pass over the data"
    each = f"{expected.trainings} x {expected.iterations:,} iterations of {expected.iteration:.3g} s"
    parts = ["one pass over the data" if expected.iterations == 1 else each]
    parts += [f"{measuring} of measuring"] if measuring else []
    return f"{duration(expected.seconds)} here: {', '.join(parts)}; a baseline that is not yet trained comes on top"


def numbers(text: str) -> tuple[int, ...]:
    """``0,1,2`` as integers."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--seeds {text} are not whole numbers: write 0,1,2") from None
