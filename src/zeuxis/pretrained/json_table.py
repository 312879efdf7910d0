"""The tables that lie beside published weights: settings, vocabularies, indices of shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zeuxis.errors import WeightsError, ZeuxisError


def read_json(path: Path, refusal: type[ZeuxisError] = WeightsError) -> dict[str, Any]:
    """The table in a file of JSON; raises ``refusal`` where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise refusal(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise refusal(f"{path} is not a table")
    return found
