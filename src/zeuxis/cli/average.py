"""``zeuxis average``: how long the average of a run's weights is, chosen after its training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli.options import DeviceName, Json, Out
from zeuxis.cli.output import emit, figures, say
from zeuxis.cli.progress import Progress
from zeuxis.errors import UsageError


def average(
    run: Annotated[Path, typer.Argument(help="A run folder, trained with --set train.posthoc=16 or the like.")],
    length: Annotated[
        list[float],
        typer.Option(
            "--length",
            help="Of the average, as a share of the training: 0.05, 0.1, ...; once, or once for each model to make.",
        ),
    ],
    at: Annotated[
        int | None, typer.Option("--at", min=1, help="The iteration at which it ends; by default the last one kept.")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option("--metric", help="Measure each of them; may be repeated.")] = None,
    samples: Annotated[int, typer.Option("--samples", min=2, help="How many pictures are measured.")] = 5000,
    out: Out = None,
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Make models of longer or shorter averages of one training, and measure which is best."""
    from zeuxis.api.average import average as work

    if not run.is_dir():
        raise UsageError(f"there is no run folder {run}: give one that zeuxis train named")

    with Progress() as progress:
        made = work(
            run, length, round=at, out=out, metrics=metric or (), samples=samples, device=device, report=progress
        )
    if as_json:
        emit([{**vars(one), "figures": [figure.as_dict() for figure in one.figures]} for one in made])
        return
    if metric:
        names = [figure.name for figure in made[0].figures]
        rows = [
            [f"{one.length:g}", *(f"{figure.value:.4g}" for figure in one.figures), str(one.folder)] for one in made
        ]
        figures(str(run), ["length", *names, "model"], rows)
        return
    for one in made:
        say(f"an average of {one.length:g} of {one.round:,} iterations -> {one.folder}")
