"""Public checkpoints to model folders: read without trust, renamed, and checked against the system that they become."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from zeuxis.catalog.build import build
from zeuxis.errors import UnknownName, UsageError, WeightsError
from zeuxis.game import System
from zeuxis.pretrained import first_stage
from zeuxis.pretrained.convert import convert
from zeuxis.pretrained.first_stage import MOUTH, STEM, Found
from zeuxis.pretrained.published import PUBLISHED
from zeuxis.spec import DataSpec, Shape
from zeuxis.training.checkpoint import sha256, write_model

KNOWN = ("vqgan", "kl-autoencoder")
UNSAID = ("critic.", "quantiser.uses")  # what a public first stage may leave out: neither changes a code or a picture


@dataclass(frozen=True)
class Adoption:
    """What came of a public checkpoint."""

    folder: Path
    system: str
    architecture: str | None  # the published one that it has, if it has one of them
    dialect: str  # whose names it had
    parameters: int  # of the system, its critic among them
    dropped: tuple[str, ...]  # keys that have no place here
    as_initialised: tuple[str, ...]  # tensors of ours that it did not hold


def adopt(
    file: str | Path,
    system: str,
    out: str | Path | None = None,
    size: int = 256,
    report: Callable[[str, float | None], None] = lambda message, fraction: None,
) -> Adoption:
    """Make the model folder ``out`` (beside ``file`` by default) of a public checkpoint of ``system``.

    ``size`` is that of the pictures, in pixels a side, which the tensors do not tell.

    Raises:
        UsageError: there is no such file, the folder exists, or no checkpoint of that system can be read.
        WeightsError: it holds no such thing, or one of another system or architecture.
    """
    source = Path(file)
    if system not in KNOWN:
        raise UnknownName("system with public checkpoints", system, KNOWN)
    if not source.is_file():
        raise UsageError(f"there is no file {source}: give a checkpoint (.safetensors, .pt, .pth, .ckpt or .bin)")
    folder = source.with_suffix("") if out is None else Path(out)
    if folder.exists():
        raise UsageError(f"{folder} exists already: remove it, or give another --out")
    found = first_stage.from_public(_stripped(_tensors(source, report), source))
    if found.plan.system != system:
        raise WeightsError(f"{source} holds a '{found.plan.system}', not a '{system}': use --as {found.plan.system}")
    report("building the system", None)
    made = build(system, DataSpec(Shape(found.plan.channels, size, size)), found.plan.model)
    absent = _fill(made, found, source)
    report(f"writing {folder}", None)
    write_model(folder, made, {"source": source.name, "source_sha256": sha256(source), "names": found.dialect})
    return Adoption(
        folder=folder,
        system=system,
        architecture=architecture(found),
        dialect=found.dialect,
        parameters=sum(p.numel() for p in made.parameters()),
        dropped=found.dropped,
        as_initialised=absent,
    )


def architecture(found: Found) -> str | None:
    """The published architecture that a first stage has, by name, whatever its critic, which may be missing."""
    mine = {key: value for key, value in found.plan.model.items() if key not in ("ndf", "layers")}
    return next((name for name, plan in PUBLISHED.items() if mine.items() <= plan.model.items()), None)


def _tensors(source: Path, report: Callable[[str, float | None], None]) -> dict[str, Tensor]:
    """All the tensors of a file, by their path in it."""
    try:
        if source.suffix == ".safetensors":
            return load_file(source)
        with tempfile.TemporaryDirectory(prefix="zeuxis-") as draft:
            return load_file(convert(source, Path(draft, "read.safetensors"), report).weights)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{source} cannot be read as safetensors: {error}") from None


def _stripped(tensors: Mapping[str, Tensor], source: Path) -> dict[str, Tensor]:
    """The first stage among them, wherever it lies (``state_dict.``, ``first_stage_model.``), without that place."""
    places = sorted(
        k.removesuffix(STEM) for k in tensors if k.endswith(STEM) and k.removesuffix(STEM) + MOUTH in tensors
    )
    if len(places) != 1:
        several = f"several: {', '.join(places)}" if places else "none"
        raise WeightsError(f"{source} must hold one first stage, with {STEM} and {MOUTH}; it holds {several}")
    return {key.removeprefix(places[0]): value for key, value in tensors.items() if key.startswith(places[0])}


def _fill(system: System, found: Found, source: Path) -> tuple[str, ...]:
    """Give ``system`` the tensors; returns the names of those that were not among them."""
    own = system.state_dict()
    absent = tuple(name for name in own if name not in found.tensors)
    wrong = [name for name, value in found.tensors.items() if name not in own or own[name].shape != value.shape]
    if wrong or not all(name.startswith(UNSAID) for name in absent):
        raise WeightsError(f"{source}: {', '.join((wrong or list(absent))[:5])} is not as the rest of it says")
    system.load_state_dict(own | found.tensors)
    return absent
