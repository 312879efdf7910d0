"""A model of ours as files that other programs load."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path

import torch

from zeuxis.catalog.published import CONTROL, parsed
from zeuxis.catalog.weights import load_system
from zeuxis.data.cache import new_folder
from zeuxis.errors import Unsupported, UsageError, lookup
from zeuxis.pretrained.hub_export import write_hub_layout
from zeuxis.pretrained.stable_diffusion import read_published
from zeuxis.systems.diffusion.stable_diffusion import StableDiffusion

DTYPES = {"as-is": None, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Export:
    """What was written."""

    folder: Path
    files: tuple[Path, ...]
    parameters: int
    notes: tuple[str, ...] = ()  # what of the model has no place in it


def export(name: str | Path, out: str | Path, dtype: str = "as-is", size: int | None = None) -> Export:
    """Write the model called ``name`` into the folder ``out`` in the hub's layout; it appears whole or not at all.

    What is written: U-Net, first stage and text towers (with LoRA files merged, where the name has some), tokenisers,
    scheduler, and the side of its pictures in pixels: ``size``, or its own.

    Raises:
        UsageError: ``out`` exists, there is no such dtype, or no pictures of that size.
        Unsupported: a model whose layout nobody else reads, or which has more than that layout: a ControlNet, or
            pictures that are not square.
    """
    folder, wanted = Path(out), lookup("precision", dtype, DTYPES)
    if folder.exists():
        raise UsageError(f"{folder} exists already: remove it, or give another --out")
    system, _ = load_system(name, staged=True)
    if not isinstance(system, StableDiffusion):
        raise Unsupported(
            f"'{name}' is a {system.card.title}: in the hub's layout goes {StableDiffusion.card.id} alone; give others "
            "its folder model/ as it is (safetensors, and a card of JSON), which zeuxis.load reads"
        )
    if system.branch is not None:
        base, _, _ = str(name).rpartition(CONTROL)
        raise Unsupported(
            f"'{name}' is steered by a ControlNet, which has no place in a model's folder: export '{base}', and give "
            f"{parsed(name).control} to others as it is"
        )
    with new_folder(folder) as made:
        write_hub_layout(system.config, system.state_dict(), _side(name, system, size), made, wanted)
        notes = _notes(system, made)
    files = tuple(sorted(path for path in folder.rglob("*") if path.is_file()))
    return Export(folder, files, sum(p.numel() for p in system.parameters()), notes)


def _notes(system: StableDiffusion, folder: Path) -> tuple[str, ...]:
    """Which defaults of its knobs a reader of ``folder`` will not have: that layout has none of them."""
    usual = {"steps": inspect.signature(StableDiffusion).parameters["steps"].default}
    told = usual | read_published(folder).arguments
    return tuple(
        f"the layout has no place for its {knob} {system.config[knob]:g}, and a reader takes {told[knob]:g}: draw with "
        f"--{knob} {system.config[knob]:g}"
        for knob in ("steps", "guidance", "strength")
        if system.config[knob] != told[knob]
    )


def _side(name: str | Path, system: StableDiffusion, size: int | None) -> int:
    """The side of pictures that the layout tells, which has one for all of them."""
    height, width, cell = system.shape.height, system.shape.width, system.stride or 1
    near = max(1, round((height * width) ** 0.5 / cell)) * cell
    if size is None and height != width:
        raise Unsupported(
            f"'{name}' draws pictures of {width}x{height}, and the hub's layout tells one side: say which with --size "
            f"{near}; its weights are the same at any size"
        )
    if size is not None and (size < cell or size % cell):
        raise UsageError(f"--size {size}: sides of its pictures are multiples of {cell}, such as {near}")
    return height if size is None else size
