"""``zeuxis sweep``: what turning one knob does to the figures and the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zeuxis.cli.options import KNOBS, DataName, DeviceName, Json, Knobs, Pair, Seed, folder, paired, sampling
from zeuxis.cli.output import emit, figures, note, say
from zeuxis.cli.progress import Progress
from zeuxis.signature import taking


@taking(KNOBS)
def sweep(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Shipped models or run folders.")],
    over: Annotated[
        list[str],
        typer.Option(
            "--over",
            metavar="KNOB=V1,V2",
            help="A knob and its values, e.g. guidance=1,2,4; repeat for models with another knob.",
        ),
    ],
    data: DataName = None,
    pair: Pair = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            help="May be repeated; by default those that suit the model. The first two are drawn against each other.",
        ),
    ] = None,
    features: Annotated[
        str | None, typer.Option("--features", help="The network whose features are compared, or pixels-8.")
    ] = None,
    knob: Knobs = None,
    samples: Annotated[int, typer.Option("--samples", min=2, help="Pictures measured at each value.")] = 1000,
    seed: Seed = 0,
    device: DeviceName = "cpu",
    out: Annotated[Path, typer.Option("--out", help="The folder of the page.", callback=folder)] = Path("runs/sweep"),
    as_json: Json = False,
    **flags: Any,
) -> None:
    """Measure models at several values of a knob, and write the curves and the pictures (HTML, PNG, JSON)."""
    from zeuxis.api.model import load
    from zeuxis.api.sweep import Over, shown, value_of
    from zeuxis.api.sweep import sweep as work

    overs = [Over.parse(text) for text in over]
    found = [load(name, device) for name in models]
    told: list[str] = []
    with Progress() as progress:
        done = work(
            found,
            overs,
            data=paired(data, pair),
            metrics=metric or (),
            samples=samples,
            seed=seed,
            how=sampling(found[0], flags, knob),
            features=features,
            out=out,
            report=progress,
            tell=told.append,
        )
    for line in dict.fromkeys(told):  # the same at every value
        note(f"note: {line}")
    if as_json:
        emit(done)
        return
    for entry in done["entries"]:
        names = shown(entry)
        points = entry["points"]
        rows = [[name, *(_cell(value_of(point, name)) for point in points)] for name in names]
        figures(f"{entry['model']}, by {entry['knob']}", ["metric", *(str(point["value"]) for point in points)], rows)
    say(f"open {out / 'index.html'}")


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
