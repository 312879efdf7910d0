"""``zeuxis train``: play a recipe's game; the same command again goes on where it stopped."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated

import typer

from zeuxis.cli.dry_run import show_dry_run
from zeuxis.cli.options import (
    Base,
    Budget,
    BudgetText,
    ConditionName,
    DataName,
    DeviceName,
    FirstStage,
    FitText,
    Json,
    MaybeSeed,
    Out,
    Pair,
    PictureSize,
    Set,
    as_recipes_name,
    recipe_of,
)
from zeuxis.cli.output import duration, emit, note, say
from zeuxis.cli.progress import Progress
from zeuxis.errors import UsageError
from zeuxis.spec import parse_size

if TYPE_CHECKING:
    pass

INTERRUPTED = 130  # what shells say of a program that was asked to stop


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or the path of a .toml file.")],
    data: DataName = None,
    pair: Pair = None,
    size: PictureSize = None,
    fit: FitText = None,
    budget: BudgetText = None,
    iterations: Annotated[
        int | None, typer.Option("--iterations", min=1, help="How long, in iterations: the same as --budget 500i.")
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Pictures an iteration.")] = None,
    condition: ConditionName = None,
    first_stage: FirstStage = None,
    base: Base = None,
    changes: Set = None,
    seed: MaybeSeed = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="MODEL", help="Start from the weights of a model of the same shape.")
    ] = None,
    device: DeviceName = "cpu",
    out: Out = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew, even if a run could go on.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Train nothing: show what would be trained, its size, and the first batch (--out FILE.png names it).",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a recipe. Ctrl-C saves and stops; the same command goes on from there."""
    from zeuxis.api.functions import train as work
    from zeuxis.api.live import progress_line
    from zeuxis.catalog.listing import entry

    if budget is not None and iterations is not None:
        raise UsageError(f"--budget {budget} and --iterations {iterations}: give one of them")

    plan = recipe_of(
        recipe,
        data=data,
        pair=pair,
        size=parse_size(size),
        fit=fit,
        batch=batch,
        seed=seed,
        start=start,
        budget=budget if iterations is None else Budget(iterations=iterations),
        first_stage=first_stage,
        base=base,
        condition=condition,
        changes=changes,
    )
    asked = data is not None or any(change.partition("=")[0].strip() == "data" for change in changes or ())
    named = as_recipes_name(() if asked else (recipe,), f"--data {plan.data} does")
    if dry_run:
        with named:
            show_dry_run(plan, out, fresh, as_json)
        return
    with named, Progress() as progress:
        run = work(
            plan,
            out=out,
            device=device,
            fresh=fresh,
            callbacks=[lambda clock, preview: progress(progress_line(clock, preview), clock.progress, clock.remaining)],
            quiet=True,
        )
    if run.skipped:
        note(f"note: {run.skipped} files could not be used; {run.folder / 'skipped.jsonl'} says which and why")
    for line in run.notes:
        note(f"note: {line}")
    if as_json:
        emit(
            {
                "run": run.folder,
                "recipe": run.recipe.name,
                "stopped": run.stopped,
                "skipped": run.skipped,
                "notes": list(run.notes),
                **vars(run.clock),
            }
        )
    elif run.stopped:
        say(f"{run.stopped} after iteration {run.clock.round:,}, saved in {run.folder}; the same command goes on")
    else:
        say(f"{run.clock.round:,} iterations in {duration(run.clock.seconds)} -> {run.folder}")
        say(f"{_next(entry(run.recipe.system).card.verbs)} {run.folder}")
    if run.stopped:
        raise typer.Exit(INTERRUPTED)


def _next(verbs: Collection[str]) -> str:
    """What to do with a trained model of these verbs."""
    if "sample" in verbs:
        return "draw with it: zeuxis sample"
    return "have it write: zeuxis sample" if "write" in verbs else "measure it: zeuxis evaluate"
