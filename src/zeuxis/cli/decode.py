"""``zeuxis decode``: pictures from the codes that ``zeuxis encode`` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli.encode import targets_of
from zeuxis.cli.options import DeviceName, Json, writable
from zeuxis.cli.output import emit, say


def decode(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of zeuxis encode.")],
    model: Annotated[str | None, typer.Option("--with", help="The model that encoded them, if it has moved.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", callback=writable, metavar="FILE|FOLDER", help="Where to write; by default beside each file."
        ),
    ] = None,
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Decode pictures from their codes, by the model that encoded them."""
    targets = targets_of(files, out, "-rebuilt.png", ".png")
    from zeuxis.api.coding import decode as work
    from zeuxis.provenance.record import require_replaceable

    for target in targets:
        require_replaceable(target)
    done = []
    for file, target in zip(files, targets, strict=True):
        made = work(file, model, device)
        made.save(target)
        done.append({"file": target, "record": made.records[0]})
        if not as_json:
            say(f"{file} -> {target}")
    if as_json:
        emit(done)
