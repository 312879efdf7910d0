"""``zeuxis data``: what there is to learn from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli import completing
from zeuxis.cli.options import FitText, Json, Out, Pair, PictureSize, only, paired
from zeuxis.cli.output import emit, note, say, table
from zeuxis.errors import UnknownName, UsageError
from zeuxis.spec import Size, parse_size

SOME = 10  # findings of a kind that are printed


def data(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            help="A dataset, a world or a folder; without it, all.", show_default=False, autocompletion=completing.data
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "train",
    pair: Pair = None,
    check: Annotated[
        bool, typer.Option("--check", help="Decode a folder's every picture: what would be left out, and why?")
    ] = False,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Get a copy of a paper's own set first, once: this asks the network.")
    ] = False,
    size: PictureSize = None,
    fit: FitText = None,
    n: Annotated[int, typer.Option("-n", min=1, max=4096, help="Pictures on the contact sheet.")] = 64,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """List the datasets, or show one and save a sheet of its pictures."""
    if name is None:
        if check:
            raise UsageError("--check: which folder? zeuxis data --check FOLDER")
        if fetch:
            raise UsageError("--fetch: which set? zeuxis data NAME --fetch (zeuxis data lists those that it gets)")
        only(context, ("as_json",), "of which pictures? Name a dataset, a world or a folder before it, or")
        everything(as_json)
        return
    if fetch:
        fetched(name)
    if check:
        kept = ("name", "check", "fetch", "size", "as_json")
        only(context, kept, "--check looks at every picture of every split as it is, and draws none")
        looked_through(name, parse_size(size), as_json)
        return
    from zeuxis.api.contact import card, contact_sheet
    from zeuxis.api.naming import slug
    from zeuxis.data.library import open_source, pinned
    from zeuxis.provenance.record import write_png

    source = open_source(pinned(paired(name, pair) or name), parse_size(size), split, fit or "square")
    found = card(source)
    page = out or Path("samples") / f"data-{slug(source.name)}-{split}.png"
    write_png(contact_sheet(source, n), page)
    if as_json:
        emit({**found, "split": split, "sheet": page})
        return
    buckets = found.pop("buckets")
    found["texts"] = [f'"{text}"' for text in found["texts"]]  # they may hold commas
    for key, value in found.items():
        if value is None:
            continue
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if text:
            say(f"{key:>12}  {text if len(text) < 400 else text[:400] + ' ...'}")
    say(f"{'sheet':>12}  {page}")
    if buckets:
        whole = found["examples"]
        rows = [[f"{b['width']}x{b['height']}", f"{b['examples']:,}", f"{b['examples'] / whole:.1%}"] for b in buckets]
        table(f"{len(buckets)} buckets", ["width x height", "examples", ""], rows)


def looked_through(folder: str, size: Size | None, as_json: bool) -> None:
    """What is wrong, or worth a look, in a folder of pictures; leaves with 1 where training would refuse it."""
    from zeuxis.data.check import check
    from zeuxis.data.source import NO_PICTURES

    found = check(folder, size)
    if as_json:
        emit(asdict(found))
        if found.refused:
            raise typer.Exit(1)
        return
    say(found.read)
    for remark in found.remarks:
        say(remark)
    by_kind: dict[tuple[bool, str], list[str]] = {}
    for finding in found.findings:
        by_kind.setdefault((not finding.left_out, finding.kind), []).append(f"{finding.path}: {finding.message}")
    for (used, kind), lines in sorted(by_kind.items()):
        say(f"{kind}, {'used' if used else 'passed over' if kind in NO_PICTURES else 'left out'}: {len(lines)}")
        for line in lines[:SOME]:
            say(f"    {line}")
        if len(lines) > SOME:
            say(f"    ... and {len(lines) - SOME} more: --json lists them all")
    spans = [f"{width}x{height}" for width, height in (found.least, found.most) if width]
    sizes = f", from {' to '.join(spans)}" if spans else ""
    say(f"{found.usable} of {found.pictures} pictures in {found.folder} can be used{sizes}")
    if found.refused:
        why = "too many cannot be used (ZEUXIS_MOST_SKIPPED allows more)" if found.usable else "there is nothing to use"
        say(f"{why}: training would refuse this folder")
        raise typer.Exit(1)


def everything(as_json: bool) -> None:
    """The datasets and worlds that are known by name."""
    from zeuxis.data.entries import ENTRIES, listing_row
    from zeuxis.data.published import PUBLISHED, copy_of, listed

    if as_json:
        emit([*map(listing_row, ENTRIES.values()), *map(listed, PUBLISHED.values())])
        return
    rows = [
        [e.name, f"{sum(e.splits.values()):,}", "x".join(map(str, e.spec.shape)), " ".join(e.provides), e.title]
        for e in ENTRIES.values()
    ]
    table(
        "zeuxis data NAME shows one; so does a folder's path",
        ["name", "examples", "shape", "provides", ""],
        rows,
    )
    table(
        "the papers' own sets: zeuxis data NAME --fetch gets a copy, once",
        ["name", "fetches", "sides", ""],
        [
            [e.name, "is here" if copy_of(e) else e.weight, " ".join(e.sides) if e.reads != "pictures" else "", e.title]
            for e in PUBLISHED.values()
        ],
    )


def fetched(name: str) -> None:
    """Get a copy of the set called ``name``, unless there is one."""
    from zeuxis.cli.progress import Progress
    from zeuxis.data.entries import ENTRIES
    from zeuxis.data.fetch_set import fetch_set
    from zeuxis.data.published import PUBLISHED

    clean = name.partition("|")[0].strip()
    if clean not in PUBLISHED:
        if clean in ENTRIES:
            raise UsageError(f"--fetch: '{clean}' is none of the papers' own sets: zeuxis data {clean} opens it")
        raise UnknownName("set to fetch", clean, PUBLISHED, "(zeuxis data lists them)")
    with Progress() as progress:
        folder = fetch_set(PUBLISHED[clean], progress)
    note(f"{clean}: {PUBLISHED[clean].licence} -> {folder}")
