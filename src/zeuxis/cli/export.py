"""``zeuxis export``: a model in a layout that other programs load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli.options import Json, Side, folder
from zeuxis.cli.output import emit, note, say


def export(
    model: Annotated[str, typer.Argument(help="A run folder, or a published folder or file.")],
    out: Annotated[Path, typer.Option("--out", callback=folder, help="The folder to write.")],
    dtype: Annotated[
        str, typer.Option("--precision", metavar="as-is|float32|bfloat16|float16", help="What tensors are written in.")
    ] = "as-is",
    size: Side = None,
    as_json: Json = False,
) -> None:
    """Write a Stable Diffusion in the hub's layout: a folder with safetensors and configurations of every part."""
    from zeuxis.api.export import export as work

    done = work(model, out, dtype, size)
    for line in done.notes:
        note(f"note: {line}")
    if as_json:
        emit(done)
    else:
        say(f"{done.parameters:,} numbers in {len(done.files)} files -> {done.folder}")
