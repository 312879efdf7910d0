"""A published CLIP to a model folder: a folder as `transformers` writes it, with the tokeniser's files beside it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from zeuxis.api.adopt import Adoption
from zeuxis.api.reporting import Report
from zeuxis.catalog.build import build
from zeuxis.catalog.loading import assign, parameters_on_meta
from zeuxis.errors import DataError, UsageError, WeightsError
from zeuxis.files import file_hash, require_regular, why_no_tensors
from zeuxis.pretrained.clip_files import read_tokeniser
from zeuxis.pretrained.clip_keys import read_clip
from zeuxis.pretrained.json_table import read_json
from zeuxis.pretrained.parts import programs_in
from zeuxis.spec import DataSpec, Shape
from zeuxis.systems.recognition.clip import MEAN, STD
from zeuxis.training.checkpoint import write_model

PUBLISHED = {  # by the vision tower's width, patch, and the side of pictures
    (768, 32, 224): "ViT-B/32",
    (768, 16, 224): "ViT-B/16",
    (1024, 14, 224): "ViT-L/14",
    (1024, 14, 336): "ViT-L/14@336px",
}
CLOSE = 1e-4  # how near other means and deviations of colours must be


def adopt_clip(
    folder: str | Path, out: str | Path | None = None, report: Report = lambda message, fraction: None
) -> Adoption:
    """Make the model folder ``out`` (``folder`` with "-zeuxis" appended, by default) of a published CLIP.

    ``folder`` holds ``config.json``, ``model.safetensors`` and the tokeniser's files. Nothing is initialised, nothing
    is fetched.

    Raises:
        UsageError: a file is missing, or ``out`` exists.
        DataError: a file that cannot be read.
        WeightsError: the tensors are not those of a CLIP with a vision transformer, or its pictures are standardised
            otherwise than OpenAI's.
    """
    source = Path(folder)
    weights = source / "model.safetensors"
    for path in (weights, source / "config.json"):
        if not path.is_file():
            raise UsageError(
                f"{source} holds no {path.name}: give a folder with a published CLIP as transformers has it"
            )
    target = source.with_name(f"{source.name}-zeuxis") if out is None else Path(out)
    if target.exists():
        raise UsageError(f"{target} exists already: remove it, or give another --out")
    config = read_json(source / "config.json", DataError)
    _check_colours(source / "preprocessor_config.json")
    tokeniser = read_tokeniser(source)
    report(f"reading {weights}", None)
    try:
        require_regular(weights)
        public = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{weights} cannot be read as safetensors: {why_no_tensors(weights, error)}") from None
    keywords, tensors = read_clip(public, config)
    shape = Shape(*keywords.pop("shape"))
    keywords["tokeniser"] = {
        "vocabulary": tokeniser.vocabulary,
        "merges": [" ".join(pair) for pair in tokeniser.merges],
        "pad": tokeniser.pad_token,
        "added": list(tokeniser.added),
    }
    with parameters_on_meta({}):
        made = build("clip", DataSpec(shape), keywords)
    assign(made, tensors, dtype=torch.float32, device="cpu", what=f"the tensors of {weights}")
    report(f"writing {target}", None)
    write_model(target, made, {"source": source.name, "source_sha256": file_hash(weights), "kind": "clip"})
    image = keywords["image"]
    return Adoption(
        folder=target,
        system="clip",
        kind="clip",
        architecture=PUBLISHED.get((image["width"], image["patch"], shape.height)),
        parameters=sum(p.numel() for p in made.parameters()),
        dropped=(),
        outside=0,
        as_initialised=(),
        programs=programs_in(source),
    )


def _check_colours(path: Path) -> None:
    """Refuse pictures that are standardised otherwise than :class:`zeuxis.systems.recognition.clip.CLIP` does it."""
    if not path.is_file():
        return
    found = read_json(path, DataError)
    for name, ours in (("image_mean", MEAN), ("image_std", STD)):
        theirs = found.get(name, ours)
        if len(theirs) != len(ours) or any(abs(a - b) > CLOSE for a, b in zip(theirs, ours, strict=True)):
            raise WeightsError(f"{path} standardises pictures by {name} {theirs}, CLIP by {list(ours)}: not known here")
