"""What the marks in a picture file say: its record, the line for other programs, its credentials and the watermark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zeuxis.api.moving import record_in
from zeuxis.api.restore_picture import open_for_restoring
from zeuxis.errors import UsageError
from zeuxis.provenance.asked import asked
from zeuxis.provenance.credentials import Credentials, holds_credentials, read_credentials
from zeuxis.provenance.detection import Detection, detect
from zeuxis.provenance.parameters import read_parameters
from zeuxis.provenance.record import CarriesNoRecord, read_record
from zeuxis.provenance.watermark import WATERMARK


def detect_in(path: str | Path) -> Detection:
    """Look for the watermark in a picture file.

    Raises :class:`UsageError` where there is no file, :class:`DataError` where it is no picture that can be read.
    """
    colours = open_for_restoring(Path(path)).colours
    return detect(colours.astype(np.uint8) if colours.dtype == np.uint8 else (colours // 257).astype(np.uint8))


@dataclass(frozen=True)
class MarksFound:
    """What a picture says of how it was made: its record, {} where it has none; the line that other programs show;
    its credentials, or in words why they cannot be read; whether it bears the watermark."""

    record: dict[str, Any]
    parameters: str | None
    credentials: Credentials | str | None
    detected: Detection

    def lines(self) -> dict[str, str]:
        """All but the record in words; what there is none of is left out."""
        found = {"parameters": self.parameters, "credentials": self.credentials, "detected": self.detected}
        return {name: str(value) for name, value in found.items() if value is not None}

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the record, and beside its keys ``marks``."""
        told = self.credentials
        marks = {
            "parameters": self.parameters,
            "credentials": asdict(told) if isinstance(told, Credentials) else told,
            "detected": asdict(self.detected),
        }
        return {**self.record, "marks": marks}


def marks_of(path: Path) -> MarksFound:
    """All the marks of a picture file.

    Raises :class:`UsageError` where it says nothing at all: it carries neither record nor line nor credentials nor
    watermark.
    """
    missing = None
    try:
        record = read_record(path)
    except CarriesNoRecord as error:
        held = record_in(path)
        record, missing = held or {}, error if held is None else None
    found = MarksFound(record, read_parameters(path), credentials_in(path), detect_in(path))
    if missing is not None and found.parameters is None and found.credentials is None and not found.detected.marked:
        raise UsageError(f"{missing}; {found.detected}")
    return found


def credentials_in(path: Path) -> Credentials | str | None:
    """The credentials of a file; in words why they cannot be read, where it has some; None where it has none."""
    try:
        return read_credentials(path)
    except UsageError as reason:
        return str(reason) if holds_credentials(path) else None


def other_marks(path: Path, record: Mapping[str, Any], wanted: bool) -> str | None:
    """In what the marks of a result that is there already, with that ``record``, are not those that are asked for, the
    watermark ``wanted`` or not: in words that follow "is". None where they are the same.
    """
    if wanted != (WATERMARK in record):
        have, ask = ("without", "with") if wanted else ("with", "without")
        return f"{have} a watermark, and is asked for {ask}"
    if asked().credentials and not holds_credentials(path):
        return "without credentials, which are asked for"
    return None
