"""``zeuxis convert``: old checkpoints to safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli.options import Json, Out
from zeuxis.cli.output import emit, say
from zeuxis.cli.progress import Progress


def convert(
    file: Annotated[Path, typer.Argument(help="A checkpoint of PyTorch: .pt, .pth, .ckpt or .bin.")],
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Turn a pickled checkpoint into safetensors without running anything that is in it."""
    from zeuxis.workshop.convert import convert as work

    with Progress() as progress:
        done = work(file, out, progress)
    if as_json:
        emit(done)
        return
    say(f"{done.tensors} tensors, {done.parameters:,} numbers -> {done.weights}")
    say(f"everything else -> {done.facts}")
    if done.not_made:
        say(f"named in the file and not called: {', '.join(done.not_made)}")
