"""``zeuxis convert``: old checkpoints to safetensors, public models to model folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli.options import Json, Out, Side
from zeuxis.cli.output import emit, say
from zeuxis.cli.progress import Progress


def convert(
    file: Annotated[
        Path, typer.Argument(help="A checkpoint of PyTorch: .pt, .pth, .ckpt or .bin; with --as also .safetensors.")
    ],
    out: Out = None,
    system: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="SYSTEM", help="Make a model folder of a public checkpoint: vqgan or kl-autoencoder."
        ),
    ] = None,
    size: Side = None,
    as_json: Json = False,
) -> None:
    """Turn a pickled checkpoint into safetensors, or into a model, without running anything that is in it."""
    from zeuxis.errors import UsageError

    if system is not None:
        as_model(file, system, out, size or 256, as_json)
        return
    if size is not None:
        raise UsageError("--size is that of a model's pictures: give it together with --as SYSTEM")
    from zeuxis.pretrained.convert import convert as work

    with Progress() as progress:
        done = work(file, out, progress)
    if as_json:
        emit(done)
        return
    say(f"{done.tensors} tensors, {done.parameters:,} numbers -> {done.weights}")
    say(f"everything else -> {done.facts}")
    if done.not_made:
        say(f"named in the file and not called: {', '.join(done.not_made)}")


def as_model(file: Path, system: str, out: Path | None, size: int, as_json: bool) -> None:
    """A public checkpoint as a model folder."""
    from zeuxis.api.adopt import adopt

    with Progress() as progress:
        done = adopt(file, system, out, size, progress)
    if as_json:
        emit(done)
        return
    say(f"{done.system}, {done.architecture or 'of no published size'}, {done.parameters:,} numbers -> {done.folder}")
    if done.dropped:
        say(f"left out: {len(done.dropped)} tensors, {done.dropped[0]} and on")
    if done.as_initialised:
        parts = sorted({name.split(".")[0] for name in done.as_initialised})
        say(f"not in the file, and as it is at the start: {', '.join(parts)}")
