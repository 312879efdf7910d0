"""``zeuxis evaluate``: measure a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zeuxis.cli import completing
from zeuxis.cli.options import (
    KNOBS,
    DataName,
    DeviceName,
    Json,
    Knobs,
    Pair,
    PriorData,
    PriorName,
    Seed,
    loaded,
    paired,
    sampling,
)
from zeuxis.cli.output import emit, note, table
from zeuxis.cli.progress import Progress
from zeuxis.errors import UsageError
from zeuxis.signature import taking

if TYPE_CHECKING:
    from zeuxis.metrics.record import Figure


@taking(KNOBS)
def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A shipped model, a generator or a run folder.", show_default=False, autocompletion=completing.models
        ),
    ] = None,
    data: DataName = None,
    pair: Pair = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", metavar="NAME", help="May be repeated; by default those that suit the model (--metrics)."
        ),
    ] = None,
    features: Annotated[
        str | None, typer.Option("--features", help="The network whose features are compared, or pixels-8.")
    ] = None,
    knob: Knobs = None,
    prior: PriorName = None,
    prior_data: PriorData = None,
    samples: Annotated[int, typer.Option("--samples", min=2, help="How many pictures are measured.")] = 5000,
    seed: Seed = 0,
    split: Annotated[
        str, typer.Option("--split", metavar="test|val|train", help="The pictures that it is measured against.")
    ] = "test",
    metrics: Annotated[bool, typer.Option("--metrics", help="List all metrics, and measure nothing.")] = False,
    device: DeviceName = "cpu",
    as_json: Json = False,
    **flags: Any,
) -> None:
    """Measure a model against the test split of its data."""
    from zeuxis.api.evaluate import evaluate as work

    if metrics:
        _list_metrics(as_json)
        return
    if model is None:
        raise UsageError("say which model: zeuxis evaluate RUN (--metrics lists what can be measured)")
    found = loaded(model, device, prior, prior_data)
    how = sampling(found, flags, knob)
    with Progress() as progress:
        figures = work(
            found,
            data=paired(data, pair),
            metrics=metric or (),
            features=features,
            samples=samples,
            seed=seed,
            how=how,
            split=split,
            report=progress,
            tell=lambda line: note(f"note: {line}"),
        )
    if as_json:
        emit([figure.as_dict() for figure in figures])
        return
    rows = [
        [
            f.name,
            f"{f.value:.4g}",
            "" if f.spread is None else f"{f.spread:.2g}",
            "" if f.floor is None else f"{f.floor:.4g}",
            f"{f.better} is better",
            str(f.samples),
        ]
        for f in figures
    ]
    table(model, ["metric", "value", "spread", "floor", "", "samples"], rows)
    if any(f.floor is not None for f in figures):
        note("floor: what pictures of the data themselves reach, as many; nothing below it is due to the model")
    for space, names in spaces(figures).items():
        note(f"in the features of {space}: {', '.join(names)}")
    for warning in together(figures):
        note(f"note: {warning}")


def _list_metrics(as_json: bool) -> None:
    """Every metric, which way is better, and what it is."""
    from zeuxis.metrics.table import METRICS

    if as_json:
        emit([{"name": name, "about": each.about, "better": each.better} for name, each in METRICS.items()])
        return
    table("", ["metric", "better", "what it is"], [[name, each.better, each.about] for name, each in METRICS.items()])


def spaces(figures: Sequence[Figure]) -> dict[str, list[str]]:
    """The names of figures by the fingerprint of the features that they are in."""
    found: dict[str, list[str]] = {}
    for figure in figures:
        if figure.features is not None:
            found.setdefault(figure.features, []).append(figure.name)
    return found


def together(figures: Sequence[Figure]) -> list[str]:
    """The warnings of figures, each once, after the names of all that it is of."""
    names: dict[str, list[str]] = {}
    for figure in figures:
        if figure.warning is not None:
            names.setdefault(figure.warning.removeprefix(figure.name), []).append(figure.name)
    return [f"{', '.join(of)}{told}" if told[:1] == " " else told for told, of in names.items()]
