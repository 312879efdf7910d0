"""Edges of pictures, drawn by a model that detects them: white on black, at the pictures' own size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zeuxis.api.model import Model
from zeuxis.api.pictures import to_pil
from zeuxis.api.still import open_picture, tensor_of
from zeuxis.errors import Unsupported, UsageError
from zeuxis.files import file_hash
from zeuxis.provenance.record import require_replaceable, save_png


def draw_edges(model: Model, pictures: Sequence[str | Path], out: str | Path | None = None) -> list[Path]:
    """Write ``NAME-edges.png`` for each picture, beside it or in the folder ``out``, or ``out`` itself for one picture
    and a name ending in .png.

    Grey is how likely a pixel is an edge. Files carry the record of how they were made.

    Raises :class:`Unsupported` for a model that detects no edges, :class:`UsageError` where a file is no picture, or
    another file than an earlier result is in a result's place.
    """
    if "detect_edges" not in model.verbs:
        raise Unsupported(f"'{model.name}' detects no edges; it can: {', '.join(sorted(model.verbs))}")
    sources, channels = [Path(one) for one in pictures], model.system.shape.channels
    files = [_place(one, None if out is None else Path(out), len(sources) == 1) for one in sources]
    if len(set(files)) < len(files):
        raise UsageError("two pictures have one name: give them one by one, or another --out for each")
    for file in files:
        require_replaceable(file)
    for source, file in zip(sources, files, strict=True):
        with model.computing():
            edges = model.system.detect_edges(tensor_of(open_picture(source, channels)).to(model.device)).float()
        made = model.record_of({"source": {"file": source.name, "sha256": file_hash(source)}})
        save_png(to_pil(2 * edges[0] - 1), file, made)
    return files


def _place(source: Path, out: Path | None, alone: bool) -> Path:
    if out is not None and out.suffix.lower() == ".png" and alone:
        return out
    return (source.parent if out is None else out) / f"{source.stem}-edges.png"
