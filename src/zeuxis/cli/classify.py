"""``zeuxis classify``: what a picture shows, by words or by a classifier's own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli.options import DeviceName, Json, Out
from zeuxis.cli.output import emit, say, table
from zeuxis.errors import UsageError

SHOWN = 5  # answers of one picture


def classify(
    model: Annotated[str, typer.Argument(help="A shipped model or a run folder.")],
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="Pictures of any usual format.")],
    among: Annotated[
        list[str] | None,
        typer.Option(
            "--among", metavar="TEXT,TEXT", help="Texts to choose from, between commas; may be repeated (clip alone)."
        ),
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option("--template", metavar='"a photo of a {}"', help="What each text is put into; repeat to average."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many answers to print.")] = SHOWN,
    out: Out = None,
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Say what pictures show: which of the texts is nearest, a classifier's own classes, or, drawn, the edges."""
    from zeuxis.api.edges import draw_edges
    from zeuxis.api.model import load
    from zeuxis.api.zero_shot import PLACE
    from zeuxis.api.zero_shot import classify as work

    texts = [text.strip() for given in among or () for text in given.split(",") if text.strip()]
    loaded = load(model, device)
    if "detect_edges" in loaded.verbs and not texts:
        files = draw_edges(loaded, pictures, out)
        if as_json:
            emit([{"picture": picture, "edges": file} for picture, file in zip(pictures, files, strict=True)])
            return
        for picture, file in zip(pictures, files, strict=True):
            say(f"{picture}: edges -> {file}")
        return
    if out is not None:
        raise UsageError(f"'{model}' says what it sees and draws nothing: leave --out out, or give a model of edges")
    found = work(loaded, pictures, texts, template or (PLACE,))
    if as_json:
        emit([{"picture": picture, "answers": answers} for picture, answers in zip(pictures, found, strict=True)])
        return
    for picture, answers in zip(pictures, found, strict=True):
        if len(pictures) > 1:
            say(f"{picture}: {answers[0].name} ({answers[0].probability:.1%})")
            continue
        rows = [[a.name, f"{a.probability:.1%}", "" if a.cosine is None else f"{a.cosine:.3f}"] for a in answers[:top]]
        table(str(picture), ["answer", "probability", "cosine"], rows)
