"""``zeuxis compare``: several recipes on the same data, with the same budget and the same measure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli import completing
from zeuxis.cli.options import Budget, DataName, DeviceName, Json, Pair, Seed, as_recipes_name, folder, paired
from zeuxis.cli.output import emit, note, say
from zeuxis.cli.stopping import training_progress
from zeuxis.errors import UsageError


def compare(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE...", help="Two recipes or more.", autocompletion=completing.recipes)
    ],
    data: DataName = None,
    pair: Pair = None,
    budget: Annotated[
        str,
        typer.Option("--budget", metavar="90s|10m|2h|500i", help="Training time of each, or its iterations."),
    ] = "10m",
    samples: Annotated[int, typer.Option("--samples", min=2, help="Pictures measured of each.")] = 5000,
    seed: Seed = 0,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, help="Trainings of each, with seeds from --seed on: what they differ by.")
    ] = 1,
    device: DeviceName = "cpu",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            callback=folder,
            help="The folder of the page.",
            show_default="one of its own in runs/, where the same command goes on",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train recipes side by side and write a table and a gallery (HTML, PNG, JSON)."""
    limits = Budget.parse(budget)
    if len(set(recipes)) < 2:
        raise UsageError("a comparison needs two different recipes: zeuxis compare dcgan vae")
    from zeuxis.api.compare import compare as work
    from zeuxis.api.compare_page import told

    with as_recipes_name(() if data else recipes, "--data does"), training_progress() as progress:
        found = work(
            recipes,
            data=paired(data, pair),
            minutes=limits.minutes,
            iterations=limits.iterations,
            samples=samples,
            seed=seed,
            repeats=repeats,
            out=out,
            device=device,
            report=progress,
        )
    if as_json:
        emit(found)
        return
    if found["used_again"]:
        note(f"note: trained before, and used again: {', '.join(found['used_again'])}")
    if found["left_out"]:
        note(f"note: {found['left_out']}")
    say(told(found))
    say(f"open {Path(found['folder'], 'index.html')}")
