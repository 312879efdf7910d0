"""``zeuxis data``: what there is to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli.options import Json, Out, Pair, Size, paired
from zeuxis.cli.output import emit, say, table
from zeuxis.errors import UsageError

SHOWN = tuple(
    ["name", "title", "shape", "splits", "licence", "may_ship", "gives", "class_names", "citation", "homepage", "note"]
)


def data(
    name: Annotated[
        str | None,
        typer.Argument(help="A dataset, a world or a folder; without it, all.", show_default=False),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "train",
    pair: Pair = None,
    size: Size = None,
    n: Annotated[int, typer.Option("-n", min=1, max=4096, help="Pictures on the contact sheet.")] = 64,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """List the datasets, or tell of one and save a sheet of its pictures."""
    if name is None:
        if pair is not None:
            raise UsageError(f"--pair {pair}: of which pictures? Name a dataset, a world or a folder before it")
        everything(as_json)
        return
    from zeuxis.data.library import open_source
    from zeuxis.provenance.record import write_png
    from zeuxis.workshop.contact import card, contact_sheet
    from zeuxis.workshop.naming import slug

    source = open_source(paired(name, pair) or name, size, split)
    found = card(source)
    page = out or Path("samples") / f"data-{slug(source.name)}-{split}.png"
    write_png(contact_sheet(source, n), page)
    if as_json:
        emit({**found, "split": split, "sheet": page})
        return
    for key, value in found.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if text:
            say(f"{key:>12}  {text if len(text) < 400 else text[:400] + ' ...'}")
    say(f"{'sheet':>12}  {page}")


def everything(as_json: bool) -> None:
    """The datasets and worlds that are known by name."""
    from zeuxis.data.entries import ENTRIES

    if as_json:
        emit([{key: getattr(e, key) for key in SHOWN} for e in ENTRIES.values()])
        return
    rows = [
        [e.name, f"{sum(e.splits.values()):,}", "x".join(map(str, e.shape)), " ".join(e.gives), e.title]
        for e in ENTRIES.values()
    ]
    table(
        "zeuxis data NAME shows one; so does a folder's path",
        ["name", "examples", "shape", "gives", ""],
        rows,
    )
