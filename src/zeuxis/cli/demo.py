"""``zeuxis demo``: the whole of it in a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli.options import Json, folder
from zeuxis.cli.output import emit, say
from zeuxis.cli.stopping import training_progress


def demo(
    out: Annotated[Path, typer.Option("--out", callback=folder, help="The folder of the page.")] = Path("runs/demo"),
    as_json: Json = False,
) -> None:
    """Draw from captions with the shipped model, train a small one, measure it, and write a page about it."""
    from zeuxis.api.demo import demo as work

    with training_progress() as progress:
        page = work(out, progress)
    if as_json:
        emit({"page": page})
    else:
        say(f"open {page}")
