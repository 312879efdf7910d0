"""The tables that lie beside published weights: settings, vocabularies, indices of shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zeuxis.errors import WeightsError, ZeuxisError
from zeuxis.files import read_table, spelt_error


def read_json(path: Path, refusal: type[ZeuxisError] = WeightsError) -> dict[str, Any]:
    """The table in a file of JSON; raises ``refusal`` where there is none."""
    try:
        return read_table(path)
    except (OSError, ValueError) as error:
        raise refusal(f"{path} cannot be read: {spelt_error(error, path)}") from None
