"""``zeuxis train``: play a recipe's game; the same command again goes on where it stopped, and so does ``resume``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zeuxis.api.naming import counted
from zeuxis.cli import completing
from zeuxis.cli.dry_run import show_dry_run
from zeuxis.cli.options import (
    Augment,
    Base,
    BudgetText,
    ConditionName,
    DataName,
    DeviceName,
    FirstStage,
    FitText,
    Iterations,
    Json,
    MaybeSeed,
    Out,
    Pair,
    PictureSize,
    Set,
    Subset,
    Track,
    as_recipes_name,
    collections,
    keys_set,
    one_budget,
    recipe_of,
)
from zeuxis.cli.output import duration, emit, note, say
from zeuxis.cli.stopping import training_progress
from zeuxis.conditions import Field
from zeuxis.data.unpaired_name import ARROW
from zeuxis.errors import UsageError, exit_code_of
from zeuxis.escaping import word
from zeuxis.spec import parse_size

if TYPE_CHECKING:
    from zeuxis.recipe import Recipe
    from zeuxis.training.trainer import Clock

SHOWN = {"patch": ", patches of them at their own resolution", "crop": ", windows of them"}  # by the fit


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE|RUN",
            help="A recipe's name, a .toml file, or a run folder to go on with.",
            autocompletion=completing.recipes,
        ),
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
    subset: Subset = None,
    augment: Augment = None,
    budget: BudgetText = None,
    iterations: Iterations = None,
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
    track: Track = None,
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
    from zeuxis.api.going_on import run_named, run_of
    from zeuxis.api.suited import chain_of, pairs_of
    from zeuxis.presets import preset_of
    from zeuxis.recipe import Recipe, load_recipe, recipe_paths

    limits = one_budget(budget, iterations)
    data = collections(data, others)
    folder = run_named(recipe)
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
        subset=subset,
        augment=augment,
        batch=batch,
        seed=seed,
        start=start,
        budget=limits,
        first_stage=first_stage,
        base=base,
        condition=condition,
        changes=changes,
    )
    named = as_recipes_name(() if data is not None or "data" in set_too else (recipe,), f"--data {plan.data} does")
    suit = condition is None and "model.condition" not in set_too  # a condition that was asked for is insisted on
    vary = recipe in recipe_paths() and "system" not in set_too  # and so is a method
    if pair is None and data is not None and plan.data != data and ARROW not in data:
        if (own := pairs_of(plan.data)) is not None:
            note(f"note: the small pictures beside the large ones are learnt from (--pair {own}), windows of both")
        else:
            how = SHOWN.get(plan.fit, "") if fit is None else ""
            at = "" if scale is None or size is not None else f", {plan.size} pixels a side (--size)"
            note(
                f"note: the pictures are damaged by {chain_of(plan.data)}{how}{at}; --pair (and --fit) decide otherwise"
            )
    if dry_run:
        with named:
            show_dry_run(plan, out, fresh, suit, vary, as_json)
        return
    with named:
        play(plan, out=out, device=device, fresh=fresh, suit=suit, vary=vary, track=track, as_json=as_json)


def play(
    plan: Recipe,
    *,
    out: Path | None,
    device: str,
    fresh: bool = False,
    suit: bool = True,
    vary: bool = False,
    track: list[str] | None,
    as_json: bool,
    anew: str = "the same command with --fresh",
) -> None:
    """Train ``plan`` with its progress on stderr, and say what came of it; ``anew`` is how it would begin again."""
    from zeuxis.api.functions import train as work
    from zeuxis.api.live import progress_line
    from zeuxis.api.runs import StopTraining

    unread: BrokenPipeError | None = None

    def show(clock: Clock, preview: Path | None) -> None:
        """Show how far it is; where nobody reads it any more (``2>&1 | head``), what was learnt is saved first."""
        nonlocal unread
        try:
            progress(progress_line(clock), clock.progress, clock.remaining)
        except BrokenPipeError as error:
            unread = error
            raise StopTraining from None

    with training_progress() as progress:
        run = work(
            plan,
            out=out,
            device=device,
            fresh=fresh,
            suit=suit,
            vary=vary,
            track=track or (),
            tell=lambda line: note(f"note: {line}"),
            callbacks=[show],
            quiet=True,
        )
    if unread is not None:
        raise unread
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
        goes_on = f"the same command goes on, and zeuxis resume {word(run.folder)}"
        say(f"{run.stopped} after iteration {run.clock.round:,}, saved in {run.folder}; {goes_on}")
    elif run.idle:
        say(f"{run.folder} is finished: {counted(run.clock.round, 'iteration')}, nothing was trained")
        bounded = run.recipe.train.iterations or run.recipe.train.minutes
        more = (
            f"train it further: zeuxis resume {word(run.folder)} --iterations {2 * run.clock.round}; "
            if bounded
            else ""
        )
        say(f"{more}anew: {anew}")
    else:
        say(f"{counted(run.clock.round, 'iteration')} in {duration(run.clock.seconds)} -> {run.folder}")
        say(_next(run.recipe.system, run.folder, run.model.needs))
    if run.stopped:
        raise typer.Exit(exit_code_of(run.stopped))


def _next(system: str, folder: Path, needed: Sequence[Field] = ()) -> str:
    """What to do with a trained model of that system, which draws nothing without what is ``needed``."""
    from zeuxis.api.restore_models import restores_any_size
    from zeuxis.catalog.listing import entry

    verbs, needs = entry(system).card.verbs, set(entry(system).card.needs)
    if restores_any_size(system):
        return f"restore with it: zeuxis restore PHOTO --model {word(folder)}"
    if "sample" in verbs and needs == {"source"}:
        return f"translate with it: zeuxis translate {word(folder)} PICTURE"
    if "sample" in verbs and needs == {"layout"}:
        return f"paint with it: zeuxis paint {word(folder)} --layout PNG"
    if "sample" in verbs:
        given = "".join(f" {field.option} {field.metavar}" for field in needed)
        return f"draw with it: zeuxis sample {word(folder)}{given}"
    return f"{'have it write: zeuxis sample' if 'write' in verbs else 'measure it: zeuxis evaluate'} {word(folder)}"
