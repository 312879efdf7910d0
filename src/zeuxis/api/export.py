"""A model of ours as files that other programs load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from zeuxis.catalog.weights import load_system
from zeuxis.data.cache import new_folder
from zeuxis.errors import Unsupported, UsageError, lookup
from zeuxis.pretrained.hub_export import write_hub_layout

EXPORTED = "stable-diffusion"
DTYPES = {"as-is": None, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Export:
    """What was written."""

    folder: Path
    files: tuple[Path, ...]
    parameters: int


def export(name: str | Path, out: str | Path, dtype: str = "as-is") -> Export:
    """Write the model called ``name`` into the folder ``out`` in the hub's layout; it appears whole or not at all.

    Raises:
        UsageError: ``out`` exists, or there is no such dtype.
        Unsupported: a model whose layout nobody else reads.
    """
    folder, wanted = Path(out), lookup("precision", dtype, DTYPES)
    if folder.exists():
        raise UsageError(f"{folder} exists already: remove it, or give another --out")
    system, _ = load_system(name, staged=True)
    if system.card.id != EXPORTED:
        raise Unsupported(f"'{name}' is a {system.card.title}: in the hub's layout goes {EXPORTED} alone")
    with new_folder(folder) as made:
        write_hub_layout(system.config, system.state_dict(), system.shape.height, made, wanted)
    files = tuple(sorted(path for path in folder.rglob("*") if path.is_file()))
    return Export(folder, files, sum(p.numel() for p in system.parameters()))
