"""``zeuxis neighbours``: what a model draws beside the training pictures that are nearest."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from zeuxis.cli.options import (
    CONDITION_OPTIONS,
    KNOBS,
    DataName,
    DeviceName,
    Json,
    Knobs,
    Out,
    Pair,
    PriorData,
    PriorName,
    Seed,
    loaded,
    paired,
    sampling,
    steering,
)
from zeuxis.cli.output import emit, note, own_file, say
from zeuxis.cli.progress import Progress
from zeuxis.signature import taking


@taking(CONDITION_OPTIONS | KNOBS)
def neighbours(
    model: Annotated[str, typer.Argument(help="A shipped model or a run folder.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many pictures are drawn.")] = 8,
    k: Annotated[int, typer.Option("--neighbours", min=1, help="Training pictures beside each.")] = 5,
    of: Annotated[
        Literal["pixels", "features"], typer.Option("--of", help="What is compared: pixels, or what a judge sees.")
    ] = "pixels",
    data: DataName = None,
    pair: Pair = None,
    seed: Seed = 0,
    knob: Knobs = None,
    prior: PriorName = None,
    prior_data: PriorData = None,
    device: DeviceName = "cpu",
    out: Out = None,
    as_json: Json = False,
    **asked: Any,
) -> None:
    """Show the nearest training pictures of what a model draws: a copy would stand beside its original."""
    from zeuxis.api.latents import must_take_sheet
    from zeuxis.api.neighbours import neighbours as work

    target = out or own_file(model, "neighbours")
    must_take_sheet(target)
    found = loaded(model, device, prior, prior_data)
    how = sampling(found, {name: asked[name] for name in KNOBS}, knob)
    with Progress() as progress:
        made = work(
            found, n=n, k=k, seed=seed, of=of, data=paired(data, pair), how=how, report=progress, **steering(asked)
        )
    file = made.save(target)
    if as_json:
        emit({"file": file, "of": made.space, "distance": made.distance.tolist(), "index": made.index.tolist(),
              "searched": made.searched})  # fmt: skip
        return
    if made.changed is not None:
        note(f"note: {made.changed}: what it learnt by heart may be none of them")
    if made.searched < made.there_are:
        note(f"note: {made.searched:,} of {made.there_are:,} training pictures, drawn from all, were searched")
    nearest = made.distance[:, 0]
    say(f"nearest by {made.space}: {float(nearest.min()):.3g} to {float(nearest.max()):.3g} -> {file}")
