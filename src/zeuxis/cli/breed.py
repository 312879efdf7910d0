"""``zeuxis breed``: pick favourites, they cross and mutate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zeuxis.cli.options import (
    CONDITION_OPTIONS,
    KNOBS,
    DeviceName,
    Json,
    Knobs,
    PriorData,
    PriorName,
    Seed,
    folder,
    loaded,
    only,
    sampling,
    steering,
)
from zeuxis.cli.output import emit, own_file, say
from zeuxis.cli.progress import Progress
from zeuxis.errors import UsageError
from zeuxis.escaping import word
from zeuxis.signature import taking

CHILDREN = 16
OF_CHILDREN = ("model", "pick", "n", "mutation", "seed", "elsewhere", "device", "out", "as_json")  # parameters


@taking(CONDITION_OPTIONS | KNOBS)
def breed(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL|FOLDER", help="A model to begin with, or the folder of its generations.")
    ],
    pick: Annotated[
        str | None,
        typer.Option("--pick", metavar="2,5,9", help="Your favourites of the newest generation, by their numbers."),
    ] = None,
    n: Annotated[int | None, typer.Option("-n", min=1, help="Pictures of a generation; by default 16.")] = None,
    mutation: Annotated[
        float, typer.Option("--mutation", help="How far a child goes towards a stranger: 0 not at all, 1 all the way.")
    ] = 0.3,
    seed: Seed = 0,
    knob: Knobs = None,
    elsewhere: Annotated[
        str | None, typer.Option("--with", metavar="MODEL", help="The model that drew them, if it has moved.")
    ] = None,
    prior: PriorName = None,
    prior_data: PriorData = None,
    device: DeviceName = "cpu",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", callback=folder, help="The folder of the generations; later ones go on there.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
    **asked: Any,
) -> None:
    """Breed pictures: begin with a model, then pick favourites by number, generation by generation."""
    from zeuxis.api import breed as api
    from zeuxis.api.walk import numbers

    garden = Path(model) if api.newest(Path(model)) is not None else None
    with Progress() as progress:
        if garden is None:
            if pick is not None:
                raise UsageError(f"--pick {pick}: of which pictures? '{model}' is no folder of generations; begin with "
                                 f"zeuxis breed {word(model)}")  # fmt: skip
            names = {parameter.name for parameter in context.command.params}
            only(context, names - {"mutation", "elsewhere"}, "nobody has children yet")
            found = loaded(model, device, prior, prior_data)
            how = sampling(found, {name: asked[name] for name in KNOBS}, knob)
            place = out or own_file(model, "breed", "")
            made = api.begin(found, place, n=n or CHILDREN, seed=seed, how=how, report=progress, **steering(asked))
        else:
            if pick is None:
                raise UsageError(f"{garden} has {api.newest(garden)} generations after the first: pick your favourites "
                                 "of the newest by number, as --pick 2,5")  # fmt: skip
            only(context, OF_CHILDREN, f"{garden} says where pictures go and how the first were drawn")
            place = out or garden
            made = api.breed(
                garden, numbers(pick, "--pick"), n=n, mutation=mutation, seed=seed, model=elsewhere, device=device,
                out=out, report=progress,
            )  # fmt: skip
    if as_json:
        emit({"generation": made.number, "files": made.files, "sheet": made.sheet, "parents": made.parents})
        return
    say(f"generation {made.number}: {len(made.files)} pictures -> {made.sheet}")
    say(f"pick some by number: zeuxis breed {word(place)} --pick 0,1")
