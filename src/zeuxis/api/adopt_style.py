"""The public network files of ProGAN, StyleGAN, StyleGAN2, StyleGAN2-ADA and StyleGAN3 to model folders.

So are the checkpoints of stylegan2-pytorch, and what was made of one by an earlier version, safetensors of its names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from zeuxis.api.reporting import Report
from zeuxis.catalog.build import build
from zeuxis.catalog.loading import assign, parameters_on_meta
from zeuxis.errors import UsageError, WeightsError
from zeuxis.files import file_hash
from zeuxis.pretrained.convert import Conversion
from zeuxis.pretrained.style_files import is_style_file, read_style_file
from zeuxis.pretrained.style_names import ours
from zeuxis.pretrained.style_settings import StyleFile
from zeuxis.spec import DataSpec
from zeuxis.training.checkpoint import write_model

KIND = "style-network"


def holds_style_network(read: Conversion, keys: Iterable[str]) -> bool:
    """Whether what was read, tensors called ``keys``, is such a file."""
    return is_style_file(facts_of(read), keys)


def facts_of(read: Conversion) -> Any:
    """What beside tensors was in the file."""
    return json.loads(read.facts.read_text(encoding="ascii"))["facts"]


def adopt_style(
    source: Path,
    facts: Any,
    weights: Path,
    folder: Path,
    size: int | None,
    report: Report,
    wanted: str | None = None,
) -> tuple[StyleFile, int, tuple[str, ...]]:
    """Write the model folder of the network file ``source``, of which ``facts`` and the tensors ``weights`` were read.

    Returns what it held, the model's parameters, and names of its tensors that were not in the file.

    It must be the system ``wanted``, where one is.

    Raises :class:`WeightsError` for networks that no system here is, :class:`UsageError` for a ``size`` that is not
    that of its pictures.
    """
    found = read_style_file(facts, load_file(weights), str(source))
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
    if own.keys() <= tensors.keys():  # nothing is initialised in vain
        with parameters_on_meta({}):
            made = build(found.system, spec, dict(found.arguments))
        assign(made, tensors, dtype=None, device="cpu", what=f"the tensors of {source}")
    else:
        made = build(found.system, spec, dict(found.arguments))
        made.load_state_dict(made.state_dict() | tensors)
    report(f"writing {folder}", None)
    write_model(folder, made, {"source": source.name, "source_sha256": file_hash(source), "kind": KIND})
    absent = tuple(name for name in made.state_dict() if name not in tensors)
    return found, sum(p.numel() for p in made.parameters()), absent
