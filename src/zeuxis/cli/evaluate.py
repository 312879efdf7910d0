"""``zeuxis evaluate``: measure a trained model."""

from __future__ import annotations

from typing import Annotated

import typer

from zeuxis.cli.options import (
    Data,
    Device,
    Guidance,
    Json,
    Pair,
    Prior,
    PriorData,
    Sampler,
    Seed,
    Steps,
    Temperature,
    loaded,
    paired,
)
from zeuxis.cli.output import emit, note, table
from zeuxis.cli.progress import Progress


def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped model, a generator or a run folder.")],
    data: Data = None,
    pair: Pair = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="May be repeated; by default those that suit the model."),
    ] = None,
    features: Annotated[
        str | None, typer.Option("--features", help="The network whose features are compared, or pixels-8.")
    ] = None,
    steps: Steps = None,
    guidance: Guidance = None,
    sampler: Sampler = None,
    temperature: Temperature = None,
    prior: Prior = None,
    prior_data: PriorData = None,
    samples: Annotated[int, typer.Option("--samples", min=2, help="How many pictures are measured.")] = 5000,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Measure a model against the test split of its data."""
    from zeuxis.api.evaluate import evaluate as work
    from zeuxis.knobs import Sampling

    found = loaded(model, device, prior, prior_data)
    with Progress() as progress:
        figures = work(
            found,
            data=paired(data, pair),
            metrics=metric or (),
            features=features,
            samples=samples,
            seed=seed,
            how=Sampling(steps=steps, guidance=guidance, sampler=sampler, temperature=temperature),
            report=progress,
        )
    if as_json:
        emit([figure.as_dict() for figure in figures])
        return
    rows = [[f.name, f"{f.value:.4g}", f"{f.better} is better", str(f.samples)] for f in figures]
    table(model, ["metric", "value", "", "samples"], rows)
    for warning in dict.fromkeys(f.warning for f in figures if f.warning):
        note(f"note: {warning}")
