"""``zeuxis convert``: old checkpoints to safetensors, published models to model folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zeuxis.api.naming import counted
from zeuxis.cli.options import Json, Out, Side
from zeuxis.cli.output import emit, note, say
from zeuxis.cli.progress import Progress
from zeuxis.data.suffixes import PICTURES
from zeuxis.errors import UsageError
from zeuxis.escaping import word

if TYPE_CHECKING:
    from zeuxis.api.adopt import Adoption, Plain


def convert(
    file: Annotated[
        Path,
        typer.Argument(
            help="A checkpoint: .safetensors, .pt, .pth, .ckpt, .bin or .pkl; or the folder of a published CLIP."
        ),
    ],
    out: Out = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="KIND|SYSTEM",
            help="Take the published model of this kind out of the file, such as vqgan or kl-autoencoder; "
            "without it the kind is recognised by the file's keys.",
        ),
    ] = None,
    size: Side = None,
    as_json: Json = False,
) -> None:
    """Turn a checkpoint into a model if its kind is known, or else into safetensors; nothing in it is run."""
    from zeuxis.api.adopt import Plain, adopt, convert_file, hint
    from zeuxis.api.adopt_clip import adopt_clip
    from zeuxis.pretrained.embedding_file import holds_embedding
    from zeuxis.pretrained.lora import holds_lora
    from zeuxis.pretrained.parts import holds_unet
    from zeuxis.pretrained.restorer_files import holds_restorer, look_of

    if str(file).startswith(("https:/", "http:/")):
        address = str(file).replace(":/", "://", 1)  # of which a path keeps one stroke
        raise UsageError(f"{address} is an address: fetch the file with a browser or curl, and give its path")
    if file.suffix.lower() in PICTURES and file.is_file():
        raise UsageError(f"{file} is a picture, not a checkpoint: give a .safetensors, .pt, .pth, .ckpt or .bin file")
    with Progress() as progress:
        if file.is_dir():
            done: Adoption | Plain = adopt_clip(file, out, progress)
        else:
            done = convert_file(file, out, size, progress) if kind is None else adopt(file, kind, out, size, progress)
    restores = isinstance(done, Plain) and holds_restorer(done.weights)
    added = None  # the option of zeuxis sample that takes it
    if isinstance(done, Plain) and not done.holds and not restores:
        added = "--lora" if holds_lora(done.weights) else "--embedding" if holds_embedding(done.weights) else None
    if isinstance(done, Plain) and not restores and added is None:
        look = None if done.holds else look_of(done.weights)
        what = "" if look is None else f"it looks like {look}, and "
        note(f"note: the tensors of {file} keep their names; {what}{hint(done.holds)}")
    if done.stripped and (restores or not isinstance(done, Plain)):
        note(f"note: {done.stripped}")
    if as_json:
        emit(done)
    elif isinstance(done, Plain):
        say(f"{counted(done.tensors, 'tensor')}, {counted(done.parameters, 'number')} -> {done.weights}")
        say(f"everything else -> {done.facts}")
        if holds_unet(done.weights):
            say(f"zeuxis sample {word(done.weights)} --caption TEXT draws with it")
        if added is not None:
            say(f"zeuxis sample MODEL --caption TEXT {added} {word(done.weights)} draws with it, where MODEL is the "
                "Stable Diffusion that it was made for")  # fmt: skip
        if restores:
            say(f"zeuxis restore PICTURE --model {word(done.weights)} restores with it")
        if done.not_made:
            say(f"named in the file and not called: {', '.join(done.not_made)}")
    else:
        size_name = done.architecture or "of no published size"
        say(f"{done.kind}, {size_name}, {done.parameters:,} numbers -> {done.folder}")
        if done.outside:
            say(f"not this model's, and left out: {done.outside} tensors")
        if done.dropped:
            say(f"of no use here, and left out: {len(done.dropped)} tensors, {done.dropped[0]} first")
        if done.as_initialised:
            parts = sorted({name.split(".")[0] for name in done.as_initialised})
            say(f"not in the file, and as initialised: {', '.join(parts)}")
        if done.programs:
            say(f"its own programs, which were not run: {', '.join(done.programs)}")
