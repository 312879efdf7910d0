"""``zeuxis train``: play a recipe's game; the same command again goes on where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zeuxis.api.naming import counted
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
    collections,
    keys_set,
    recipe_of,
)
from zeuxis.cli.output import duration, emit, note, say
from zeuxis.cli.progress import Progress
from zeuxis.errors import UsageError
from zeuxis.files import at_home
from zeuxis.spec import parse_size

SHOWN = {"patch": ", patches of them at their own resolution", "crop": ", windows of them"}  # by the fit
INTERRUPTED = 130  # what shells say of a program that was asked to stop


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE|RUN", help="A recipe's name, a .toml file, or a run folder to go on with.")
    ],
    others: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PICTURES]", help="After --data SOURCES: what they are to become, of which no two belong together."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="TASK|paper",
            help="A task by name, as 'map->aerial' of pix2pix (zeuxis info RECIPE lists them), or the published size.",
        ),
    ] = None,
    data: DataName = None,
    pair: Pair = None,
    scale: Annotated[
        int | None,
        typer.Option("--scale", min=1, max=8, help="By how much a restorer enlarges; its recipe's damage is kept."),
    ] = None,
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
        str | None,
        typer.Option(
            "--from",
            "--start",
            metavar="MODEL",
            help="Start from the weights of a model of the same shape; of a restorer also from a published network, by "
            "its name or file, or from another restorer's.",
        ),
    ] = None,
    device: DeviceName = "cpu",
    out: Out = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew; a run that lies in --out is set aside.")] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(
            "--track",
            metavar="tensorboard|wandb|none",
            help="What follows the training beside its log; may be repeated. wandb sends figures and previews to a "
            "server.",
            show_default="tensorboard, where it is installed",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Train nothing: show what would be trained, its size, and the first batch (--out FILE.png names it).",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a recipe. Ctrl-C saves and stops; the same command goes on from there, and --iterations goes further."""
    from zeuxis.api.functions import train as work
    from zeuxis.api.going_on import run_of
    from zeuxis.api.live import progress_line
    from zeuxis.api.suited import chain_of, pairs_of
    from zeuxis.presets import preset_of
    from zeuxis.recipe import Recipe, load_recipe, recipe_paths

    if budget is not None and iterations is not None:
        raise UsageError(f"--budget {budget} and --iterations {iterations}: give one of them")

    data = collections(data, others)
    folder = at_home(recipe) if recipe not in recipe_paths() and at_home(recipe).is_dir() else None
    out = folder if out is None else out
    begun: str | Recipe = recipe if folder is None else run_of(folder).recipe
    set_too = keys_set(changes)
    if preset is not None:
        if isinstance(begun, Recipe):
            raise UsageError(f"--preset '{preset}' is of a training that begins, and {recipe} has begun: leave it out")
        begun, task = preset_of(load_recipe(begun), preset, own_data=data is not None)
        if pair is None and (data is None or task.data is None):
            pair = task.pair
        data = task.data if data is None and "data" not in set_too else data
        size = str(task.size) if size is None and task.size is not None and "size" not in set_too else size
        condition = task.condition if condition is None and "model.condition" not in set_too else condition
    plan = recipe_of(
        begun,
        data=data,
        pair=pair,
        scale=scale,
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
    named = as_recipes_name(() if data is not None or "data" in set_too else (recipe,), f"--data {plan.data} does")
    suit = condition is None and "model.condition" not in set_too  # a condition that was asked for is insisted on
    if pair is None and data is not None and plan.data != data:
        if (own := pairs_of(plan.data)) is not None:
            note(f"note: the small pictures beside the large ones are learnt from (--pair {own}), windows of both")
        else:
            how = SHOWN.get(plan.fit, "") if fit is None else ""
            note(f"note: the pictures are damaged by {chain_of(plan.data)}{how}; --pair (and --fit) decide otherwise")
    if dry_run:
        with named:
            show_dry_run(plan, out, fresh, suit, as_json)
        return
    with named, Progress() as progress:
        run = work(
            plan,
            out=out,
            device=device,
            fresh=fresh,
            suit=suit,
            track=track or (),
            tell=lambda line: note(f"note: {line}"),
            callbacks=[lambda clock, preview: progress(progress_line(clock), clock.progress, clock.remaining)],
            quiet=True,
        )
    if run.skipped:
        are = "picture is" if run.skipped == 1 else "pictures are"
        note(f"note: {run.skipped:,} {are} not used; {run.folder / 'skipped.jsonl'} says which and why")
    if as_json:
        emit(
            {
                "run": run.folder,
                "recipe": run.recipe.name,
                "stopped": run.stopped,
                "skipped": run.skipped,
                "notes": list(run.notes),
                "began": run.began,
                **vars(run.clock),
            }
        )
    elif run.stopped:
        say(f"{run.stopped} after iteration {run.clock.round:,}, saved in {run.folder}; the same command goes on")
    elif run.idle:
        say(f"{run.folder} is finished: {counted(run.clock.round, 'iteration')}, nothing was trained")
        bounded = run.recipe.train.iterations or run.recipe.train.minutes
        more = f"train it further: zeuxis train {run.folder} --iterations {2 * run.clock.round}; " if bounded else ""
        say(f"{more}anew: the same command with --fresh")
    else:
        say(f"{counted(run.clock.round, 'iteration')} in {duration(run.clock.seconds)} -> {run.folder}")
        say(_next(run.recipe.system, run.folder))
    if run.stopped:
        raise typer.Exit(INTERRUPTED)


def _next(system: str, folder: Path) -> str:
    """What to do with a trained model of that system."""
    from zeuxis.api.restore_models import restores_any_size
    from zeuxis.catalog.listing import entry

    verbs, needs = entry(system).card.verbs, set(entry(system).card.needs)
    if restores_any_size(system):
        return f"restore with it: zeuxis restore PHOTO --model {folder}"
    if "sample" in verbs and needs == {"source"}:
        return f"translate with it: zeuxis translate {folder} PICTURE"
    if "sample" in verbs and needs == {"layout"}:
        return f"paint with it: zeuxis paint {folder} --layout PNG"
    if "sample" in verbs:
        return f"draw with it: zeuxis sample {folder}"
    return f"{'have it write: zeuxis sample' if 'write' in verbs else 'measure it: zeuxis evaluate'} {folder}"
