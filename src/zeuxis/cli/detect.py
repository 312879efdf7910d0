"""``zeuxis detect``: which pictures bear Zeuxis' watermark."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli.options import Json
from zeuxis.cli.output import emit, note, say
from zeuxis.errors import DataError, UsageError


def detect(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures: PNG, JPEG, WebP, ...", metavar="PICTURE...")],
    as_json: Json = False,
) -> None:
    """Look for the watermark in pictures: a score, the chance of one so high without a mark, and the verdict.

    No proof either way: a mark can be removed, and put into any picture.
    """
    from zeuxis.api.marks import detect_in

    found, problems = [], list[str]()
    for path in pictures:
        try:
            seen = detect_in(path)
        except (DataError, UsageError) as error:
            if len(pictures) == 1:
                raise
            problems.append(str(error))
            continue
        found.append({"file": path, **asdict(seen)})
        if not as_json:
            say(f"{path}: {seen}")
    for problem in problems:
        note(f"note: {problem}")
    if not found:
        raise DataError(f"none of the {len(pictures)} pictures could be read")
    if as_json:
        emit({"pictures": found, "problems": problems})
