"""The network whose inner maps pictures are compared in, while one is optimised towards another."""

from __future__ import annotations

from dataclasses import dataclass

from zeuxis.api.features import judge_of
from zeuxis.api.model import Model, load
from zeuxis.editing.style_transfer import MapSpace
from zeuxis.errors import Unsupported
from zeuxis.nn.efficientnet_lite import in_three
from zeuxis.pretrained.efficientnet_files import EXTRA, NAME, SHA256, load_efficientnet
from zeuxis.systems.recognition._family import FeatureClassifier, OODDetector

STYLE_MAPS, CONTENT_MAP = 5, 3  # of EfficientNet-Lite0: to a sixteenth of the sides, and at an eighth


@dataclass(frozen=True)
class ComparingNetwork:
    """The network that pictures are compared in."""

    name: str
    sha256: str
    space: MapSpace


def compared(features: str, device: str, channels: int = 3) -> ComparingNetwork:
    """The network called ``features``, of pictures of so many ``channels``.

    Raises :class:`Unsupported` where it is not at hand, has no maps or takes other pictures.
    """
    if features == NAME:
        if channels not in (1, 3):
            raise Unsupported(f"'{NAME}' takes pictures in grey or in colour, and these have {channels} channels")
        net = load_efficientnet().to(device)
        return ComparingNetwork(
            NAME, SHA256, MapSpace(lambda image: net.maps(in_three(image), STYLE_MAPS), (CONTENT_MAP,))
        )
    return _of_model(load(features, device), features, channels)


def compared_as_judged(data: str, shape: tuple[int, ...], device: str) -> ComparingNetwork | None:
    """The network of the shipped judge of ``data`` that takes pictures of ``shape``; None where there is none."""
    judge = judge_of(data, shape=shape, device=device)
    fits = judge is not None and tuple(judge.system.shape) == tuple(shape)
    return _of_model(judge, judge.name, shape[0]) if judge is not None and fits else None


def _of_model(model: Model, features: str, channels: int) -> ComparingNetwork:
    if not isinstance(model.system, (FeatureClassifier, OODDetector)) or model.system.shape.channels != channels:
        raise Unsupported(
            f"'{features}' compares no pictures {'in grey' if channels == 1 else 'in colour'} by inner maps: give "
            f"'{NAME}' ({EXTRA}), or a classifier, judge or segmenter that was trained here, such as judge-scenes-rich"
        )
    network = model.system.network.requires_grad_(False)
    return ComparingNetwork(model.name, model.weights_sha256, MapSpace(network.maps, (len(network.widths) // 2,)))
