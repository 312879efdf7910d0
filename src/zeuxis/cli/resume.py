"""``zeuxis resume``: a training that was stopped, or that is to go further, by the run folder alone."""

from __future__ import annotations

from typing import Annotated

import typer

from zeuxis.cli import completing
from zeuxis.cli.options import (
    BudgetText,
    DeviceName,
    Iterations,
    Json,
    Track,
    as_recipes_name,
    one_budget,
    recipe_of,
)
from zeuxis.cli.train import play
from zeuxis.escaping import word


def resume(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="The run folder, as zeuxis train named it.", autocompletion=completing.runs),
    ],
    budget: BudgetText = None,
    iterations: Iterations = None,
    device: DeviceName = "cpu",
    track: Track = None,
    as_json: Json = False,
) -> None:
    """Go on with a training that was stopped, or further than it was to, by the recipe that its run folder holds.

    The budget counts from the beginning: --iterations 2000 of a run that had 1000 trains 1000 more. zeuxis train RUN
    does the same, and takes changes of the recipe.
    """
    from zeuxis.api.going_on import run_of, run_to_resume

    folder = run_to_resume(run)
    plan = recipe_of(run_of(folder).recipe, budget=one_budget(budget, iterations))
    with as_recipes_name((str(folder),), f"zeuxis train {word(folder)} --data {plan.data} does"):
        play(plan, out=folder, device=device, track=track, as_json=as_json, anew=f"zeuxis train {word(folder)} --fresh")
