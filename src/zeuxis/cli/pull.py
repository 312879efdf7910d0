"""``zeuxis pull``: a published model from the hub."""

from __future__ import annotations

from typing import Annotated

import typer

from zeuxis.cli.options import Json
from zeuxis.cli.output import emit, say
from zeuxis.cli.progress import Progress


def pull(
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME[@REVISION]", help="A repository of the hub.")],
    variant: Annotated[
        str | None, typer.Option("--variant", metavar="fp16", help="Of the weights; without it those in full.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="NAME.safetensors", help="One file, of a repository that has single files."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fetch a published Stable Diffusion: safetensors and tables alone, nothing that could run. Asks the network."""
    from zeuxis.catalog.published import published_path
    from zeuxis.pretrained.parts import holds_unet
    from zeuxis.pretrained.pull import pull as work

    with Progress() as progress:
        done = work(name, variant=variant, file=file, report=progress)
    if as_json:
        emit(done)
    else:
        say(f"{done.files} files, {done.bytes / 1e9:.1f} GB, commit {done.commit[:12]} -> {done.folder}")
        if done.programs:
            say(f"its programs were not fetched, and are never run: {', '.join(done.programs)}")
        found = published_path(name.strip().partition("@")[0])
        if found is not None and holds_unet(found):
            say(f"zeuxis sample {name.strip().partition('@')[0]} --caption TEXT draws with it")
        else:
            say("it is no whole Stable Diffusion: zeuxis sample MODEL takes a LoRA as --lora FILE, and a ControlNet as "
                "--with FILE")  # fmt: skip
