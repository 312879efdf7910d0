"""The public network files of ProGAN, StyleGAN, StyleGAN2, StyleGAN2-ADA and StyleGAN3 to model folders."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from zeuxis.api.reporting import Report
from zeuxis.catalog.build import build
from zeuxis.errors import UsageError, WeightsError
from zeuxis.files import file_hash
from zeuxis.pretrained.convert import Conversion
from zeuxis.pretrained.style_files import is_style_file, read_style_file
from zeuxis.pretrained.style_names import ours
from zeuxis.pretrained.style_settings import StyleFile
from zeuxis.spec import DataSpec
from zeuxis.training.checkpoint import write_model

KIND = "style-network"


def holds_style_network(read: Conversion) -> bool:
    """Whether what was read is such a file."""
    return is_style_file(json.loads(read.facts.read_text(encoding="ascii"))["facts"])


def adopt_style(
    source: Path, read: Conversion, folder: Path, size: int | None, report: Report, wanted: str | None = None
) -> tuple[StyleFile, int, tuple[str, ...]]:
    """Write the model folder of a network file; what it held, its parameters, and tensors that it did not hold.

    It must be the system ``wanted``, where one is.

    Raises :class:`WeightsError` for networks that no system here is, :class:`UsageError` for a ``size`` that is not
    that of its pictures.
    """
    found = read_style_file(
        json.loads(read.facts.read_text(encoding="ascii"))["facts"], load_file(read.weights), str(source)
    )
    if wanted not in (None, found.system):
        raise WeightsError(f"{source} holds a {found.system}, not '{wanted}': use --as {found.system}, or leave it out")
    if size not in (None, found.shape.height):
        raise UsageError(f"{source} draws {found.shape.height} pixels a side, not {size}: leave --size out")
    spec = DataSpec(found.shape, class_names=tuple(map(str, range(found.classes))))
    try:
        with torch.device("meta"):  # no memory is taken for sizes that its tensors do not have
            own = build(found.system, spec, dict(found.arguments)).state_dict()
    except UsageError as error:
        raise WeightsError(f"{source}: {error}") from None
    tensors = ours(found, own, str(source))
    report("building the system", None)
    made = build(found.system, spec, dict(found.arguments))
    made.load_state_dict(made.state_dict() | tensors)
    report(f"writing {folder}", None)
    write_model(folder, made, {"source": source.name, "source_sha256": file_hash(source), "kind": KIND})
    absent = tuple(name for name in made.state_dict() if name not in tensors)
    return found, sum(p.numel() for p in made.parameters()), absent
