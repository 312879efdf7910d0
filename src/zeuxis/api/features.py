"""Feature spaces: in what distances between sets of pictures are measured.

By default that of the dataset's own reader, which ships; for data that no reader knows, area-averaged
pixels. The usual Inception of published FIDs is there for whoever has its weights as safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from zeuxis.api.model import Model, load
from zeuxis.catalog.listing import entry
from zeuxis.catalog.weights import shipped
from zeuxis.data.entries import kin
from zeuxis.errors import Unsupported, UsageError
from zeuxis.nn.inception import load_inception
from zeuxis.training.checkpoint import sha256
from zeuxis.training.legacy import upgraded_card

CHUNK = 256
PIXELS = "pixels-8"
READS = {"classify", "segment", "verify"}  # the verbs of systems that read pictures


@dataclass(frozen=True)
class Features:
    """A feature space."""

    name: str
    hash: str
    resize: str  # the filter that brings pictures to its size
    encode: Callable[[Tensor], Tensor]  # (B, C, H, W) in [-1, 1] -> (B, D)

    def of(self, images: Tensor) -> Tensor:
        """Features ``(N, D)`` of images ``(N, C, H, W)``."""
        with torch.inference_mode():
            return torch.cat([self.encode(part) for part in images.split(CHUNK)])


def reader_of(data: str, verb: str = "classify", shape: tuple[int, ...] | None = None) -> Model | None:
    """The shipped network that was trained to read ``data`` (or a set with the same pictures), if there is one.

    ``verb`` is how it is to read: classify, segment, verify or knows. Of several, the one of ``shape`` is taken.
    """
    able: dict[str, tuple[int, ...]] = {}
    for name, folder in shipped().items():
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        verbs = entry(card["system"]).card.verbs
        if card["data"] in kin(data) and verb in verbs and verbs & READS:
            able[name] = tuple(upgraded_card(card)["spec"]["shape"])
    fitting = [name for name, size in able.items() if size == shape]
    return next((load(name) for name in [*fitting, *able]), None)


def features_of(data: str, name: str | None = None, shape: tuple[int, ...] | None = None) -> Features:
    """The feature space called ``name``: a model that encodes, ``pixels-8``, or a safetensors file of Inception.

    Without a name: that of the shipped reader of ``data``, of several the one of ``shape``; for data without
    one, ``pixels-8``.
    """
    if name is not None and name.endswith(".safetensors"):
        return _inception(Path(name))
    if name == PIXELS:
        return _pixels()
    model = reader_of(data, shape=shape) if name is None else load(name)
    return _pixels() if model is None else _of_model(model)


def _pixels() -> Features:
    return Features(PIXELS, PIXELS, "area", lambda x: F.interpolate(x, size=(8, 8), mode="area").flatten(1))


def _inception(path: Path) -> Features:
    net = load_inception(path)
    return Features("inception-2015-12-05", sha256(path)[:16], "bilinear as in TensorFlow 1", net.features)


def _of_model(model: Model) -> Features:
    if "encode" not in model.system.card.verbs:
        raise Unsupported(f"'{model.name}' has no features: give a classifier or a judge")
    shape = model.system.shape
    size = (shape.height, shape.width)

    def encode(image: Tensor) -> Tensor:
        if image.shape[1] != shape.channels:
            raise UsageError(f"'{model.name}' reads {shape.channels} channels, the pictures have {image.shape[1]}")
        if tuple(image.shape[2:]) != size:
            image = F.interpolate(image, size=size, mode="bilinear", antialias=True, align_corners=False)
        return model.system.encode(image)

    return Features(model.name, model.weights_sha256[:16], "antialiased bilinear", encode)
