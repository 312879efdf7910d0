"""What every task of the worker works with, and how it tells of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from zeuxis.provenance.record import read_record
from zeuxis.studio.commands import replay_command
from zeuxis.studio.folders import Folders
from zeuxis.studio.model_cache import ModelCache
from zeuxis.studio.progress import JobProgress


@dataclass(frozen=True)
class TaskContext:
    """What a task works with: the models at hand, the service's folders, and a fresh folder for its files."""

    models: ModelCache
    folders: Folders
    draft: Path
    final: Path  # where the draft will be
    progress: JobProgress


def picture_entry(context: TaskContext, file: Path, condition: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What is told of a picture in the draft: its size, its record, and the command that makes the same bytes."""
    record = read_record(file)
    with Image.open(file) as shown:
        width, height = shown.size
    entry = {"file": file.name, "seed": record["seed"], "width": width, "height": height, "record": record}
    if condition is not None:
        entry["replay"] = replay_command(context.final / file.name, condition)
    return entry
