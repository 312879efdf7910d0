"""``zeuxis compare``: several recipes on the same data, with the same budget and the same measure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli.options import Budget, DataName, DeviceName, Json, Pair, Seed, paired
from zeuxis.cli.output import emit, say
from zeuxis.cli.progress import Progress
from zeuxis.errors import UsageError


def compare(
    recipes: Annotated[list[str], typer.Argument(metavar="RECIPE...", help="Two recipes or more.")],
    data: DataName = None,
    pair: Pair = None,
    budget: Annotated[str, typer.Option("--budget", metavar="90s|10m|2h", help="Training time of each.")] = "10m",
    samples: Annotated[int, typer.Option("--samples", min=2, help="Pictures measured of each.")] = 5000,
    seed: Seed = 0,
    device: DeviceName = "cpu",
    out: Annotated[Path, typer.Option("--out", help="The folder of the page.")] = Path("runs/compare"),
    as_json: Json = False,
) -> None:
    """Train recipes side by side and write a table and a gallery (HTML, PNG, JSON)."""
    minutes = Budget.parse(budget).minutes
    if minutes is None:
        raise UsageError(
            f"--budget {budget}: methods are compared in time, since iterations cost them differently: write 10m"
        )
    if len(set(recipes)) < 2:
        raise UsageError("a comparison needs two different recipes: zeuxis compare dcgan vae")
    from zeuxis.api.compare import compare as work

    with Progress() as progress:
        found = work(
            recipes,
            data=paired(data, pair),
            minutes=minutes,
            samples=samples,
            seed=seed,
            out=out,
            device=device,
            report=progress,
        )
    if as_json:
        emit(found)
    else:
        say(f"open {out / 'index.html'}")
