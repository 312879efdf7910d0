"""``zeuxis encode``: pictures to a model's codes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli.options import DeviceName, Json, writable
from zeuxis.cli.output import emit, note, say
from zeuxis.data.suffixes import PICTURES
from zeuxis.errors import NoSuchPath, UsageError, ZeuxisError
from zeuxis.escaping import word

FILES = PICTURES | {".safetensors"}  # what no folder's name ends in
CODES = Path("codes")  # where they are written unless it is said where


def encode(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="Pictures of any usual format.")],
    model: Annotated[str, typer.Option("--with", help="A shipped model or a run folder that encodes and decodes.")],
    size: Annotated[
        int | None, typer.Option("--size", min=1, help="A square of so many pixels a side, where the model takes any.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", callback=writable, metavar="FILE|FOLDER", help="Where to write; by default into the folder codes."
        ),
    ] = None,
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Encode pictures to a model's codes; prints the size of the codes and the PSNR of the reconstruction."""
    from zeuxis.api.code_file import SUFFIX, described, write_codes
    from zeuxis.api.coding import encode as work
    from zeuxis.api.model import load

    for picture in pictures:
        if picture.is_dir():
            raise UsageError(
                f"{picture} is a folder: give the pictures in it, e.g. zeuxis encode {word(picture)}/* --with {model}"
            )
        if not picture.is_file():
            raise NoSuchPath("picture", picture)
    targets = targets_of(pictures, out or CODES, SUFFIX, ".safetensors")
    for target in targets:
        _require_replaceable(target)
    loaded = load(model, device)
    done = []
    for picture, target in zip(pictures, targets, strict=True):
        found = work(loaded, picture, size)
        write_codes(target, found.coded)
        done.append(
            {"picture": picture, "file": target, "psnr": found.psnr, "greyed": found.greyed, **described(found.coded)}
        )
        if as_json:
            continue
        if found.coded.fitted:
            note(f"note: {picture}: {found.coded.fitted}, as '{model}' takes it")
        if found.greyed:
            note(f"note: {picture}: its colours are lost, for '{model}' takes grey pictures alone")
        back = f"{found.psnr:.1f} dB" if math.isfinite(found.psnr) else "without loss"
        say(f"{picture}: {found.coded.size()}, {back} -> {target}")
    if as_json:
        emit(done)


def _require_replaceable(target: Path) -> None:
    """Refuse to write over a file that is there and holds no codes."""
    from zeuxis.api.code_file import read_codes

    if not target.is_file():
        return
    try:
        read_codes(target)
    except ZeuxisError:
        raise UsageError(f"{target} is there already and holds no codes: give another name, or move it away") from None


def targets_of(files: list[Path], out: Path | None, ending: str, single: str) -> list[Path]:
    """Where each file's result goes: to ``out`` itself for one file and a name that ends in ``single``; otherwise into
    the folder ``out``, or beside the file, with ``ending`` in place of its own."""
    if out is not None and out.name.endswith(single) and len(files) == 1:
        return [out]
    if out is not None and out.suffix.lower() in FILES and not out.exists():
        many = f"for {len(files)} files" if len(files) > 1 else f"or a name that ends in {single}"
        raise UsageError(f"--out {out} is the name of a file: give a folder {many}")
    if out is not None and out.is_file():
        raise UsageError(f"--out {out} is a file: give a folder, or for one picture a name that ends in {single}")
    from zeuxis.api.code_file import SUFFIX

    stems = [file.name.removesuffix(SUFFIX) if file.name.endswith(SUFFIX) else file.stem for file in files]
    found = [(out or file.parent) / f"{stem}{ending}" for file, stem in zip(files, stems, strict=True)]
    twice = next((target for target in found if found.count(target) > 1), None)
    if twice is not None:
        raise UsageError(f"two of these files would be written to {twice}: rename one, or do them one by one")
    return found
