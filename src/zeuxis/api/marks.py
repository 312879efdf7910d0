"""What the marks in a picture file say: its record, the line for other programs, its credentials and the watermark."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from zeuxis.api.restore_picture import open_for_restoring
from zeuxis.errors import UsageError
from zeuxis.provenance.credentials import Credentials, holds_credentials, read_credentials
from zeuxis.provenance.detection import Detection, detect
from zeuxis.provenance.parameters import read_parameters
from zeuxis.provenance.record import CarriesNoRecord, read_record


def detect_in(path: str | Path) -> Detection:
    """Look for the watermark in a picture file.

    Raises :class:`UsageError` where there is no file, :class:`DataError` where it is no picture that can be read.
    """
    colours = open_for_restoring(Path(path)).colours
    return detect(colours.astype(np.uint8) if colours.dtype == np.uint8 else (colours // 257).astype(np.uint8))


def marks_of(path: Path) -> dict[str, Any]:
    """All that a picture says of how it was made: its record, and ``parameters``, ``credentials`` and ``detected``.

    Raises :class:`UsageError` where it says nothing at all: it carries neither record nor credentials nor watermark.
    """
    missing = None
    try:
        record = read_record(path)
    except CarriesNoRecord as error:
        record, missing = {}, error
    found, line, told = detect_in(path), read_parameters(path), credentials_in(path)
    if missing is not None and told is None and not found.marked:
        raise UsageError(f"{missing}; {found}")
    more = {"parameters": line, "credentials": told if isinstance(told, str) else told and told.as_dict()}
    return {**record, **{key: value for key, value in more.items() if value is not None}, "detected": asdict(found)}


def credentials_in(path: Path) -> Credentials | str | None:
    """The credentials of a file; in words why they cannot be read, where it has some; None where it has none."""
    try:
        return read_credentials(path)
    except UsageError as reason:
        return str(reason) if holds_credentials(path) else None
