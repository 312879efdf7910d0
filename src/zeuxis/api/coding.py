"""A picture to a model's codes and back, with the size of the codes and the error of the reconstruction."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from zeuxis.api.code_file import Coded, read_codes
from zeuxis.api.model import Model, load
from zeuxis.api.pictures import Pictures
from zeuxis.api.still import has_colours, open_picture, tensor_of
from zeuxis.batch import to_float, to_uint8
from zeuxis.catalog.listing import entries, entry
from zeuxis.catalog.weights import shipped
from zeuxis.data.fit import WidthHeight, fit_picture, middle_box
from zeuxis.errors import DataError, TrainingStopped, UnknownName, Unsupported, UsageError, WeightsError
from zeuxis.metrics.similarity import psnr

MOST_SIDE = 64  # of a square map of codes: the cost of first stages' attention is quadratic in its area
REBUILT = "This image was rebuilt by Zeuxis from codes of a picture: a model drew its pixels. It is not the picture."


@dataclass(frozen=True)
class Encoding:
    """A coded picture, and the error of its reconstruction."""

    coded: Coded
    greyed: bool  # whether the picture had colours, which the model does not take
    psnr: float  # dB, of the 8-bit picture as it was coded; infinite where it comes back exactly


def encode(model: Model, path: Path, size: int | None = None) -> Encoding:
    """The codes of the picture at ``path``, which is cropped or resized to a size that the model takes.

    A model for one shape is given the largest centred part of its proportions. A fully convolutional one
    (``System.stride``) is given the picture itself, cropped to multiples of its factor; a very large one is made
    smaller. ``size`` asks for a square of so many pixels a side instead.
    """
    check_codes(model)
    system = model.system
    picture = open_picture(path, system.shape.channels)
    cropped, fitted = fit_to(picture, target_of(model, picture.size, size), system.stride or 1)
    image = tensor_of(cropped)
    with model.computing():
        codes = system.encode(image.to(model.device))
        rebuilt = to_float(to_uint8(system.decode(codes)).cpu())
    if not torch.isfinite(codes.float()).all():
        raise TrainingStopped(f"'{model.name}' made codes that are not finite: its weights are damaged, train it again")
    coded = Coded(
        codes=codes[0].cpu() if system.codes is not None else codes[0].float().cpu(),
        values=system.codes,
        model=model.name,
        system=system.card.id,
        weights_sha256=model.weights_sha256,
        shape=(image.shape[1], image.shape[2], image.shape[3]),
        original=path.name,
        original_size=picture.size,
        fitted=fitted,
    )
    return Encoding(coded, system.shape.channels == 1 and has_colours(path), float(psnr(rebuilt, image)))


def decode(path: Path, name: str | None = None, device: str = "cpu") -> Pictures:
    """The picture of a code file, by the model that coded it; ``name`` says where that model is now."""
    coded = read_codes(path)
    try:
        model = load(name or coded.model, device)
    except UnknownName:
        if name is not None:
            raise
        raise UsageError(f"{path} was coded by '{coded.model}', which is not here: give it --with") from None
    check_codes(model)
    _check_fit(path, coded, model)
    with model.computing():
        image = model.system.decode(coded.codes[None].to(model.device)).float().cpu()
    made = model.record_of({"codes": {"of": coded.original, "bits": coded.bits, "fitted": coded.fitted}})
    return Pictures(image, ({**made, "disclosure": REBUILT},))


def check_codes(model: Model) -> None:
    """Refuse a model that does not turn pictures into codes and back, naming those that do."""
    if not {"encode", "decode"} <= model.system.card.verbs:
        cards = {n: json.loads((folder / "model.json").read_text(encoding="utf-8")) for n, folder in shipped().items()}
        ready = [n for n, card in cards.items() if _codes(card["system"])]
        systems = [n for n in entries() if _codes(n)]
        raise Unsupported(
            f"'{model.name}' does not code pictures and decode them; of the shipped models these do: "
            f"{', '.join(ready) or 'none'}; and trained ones of {', '.join(systems)}"
        )


def _codes(system: str) -> bool:
    return {"encode", "decode"} <= entry(system).card.verbs


# -- sizes --------------------------------------------------------------------------------------------


def target_of(model: Model, picture: WidthHeight, size: int | None) -> WidthHeight:
    """Width and height to which a picture of the size ``picture`` is cropped or resized."""
    shape, stride = model.system.shape, model.system.stride
    if stride is None:
        own = (shape.width, shape.height)
        if size is not None and (size, size) != own:
            raise Unsupported(f"--size {size}: '{model.name}' codes pictures of {own[0]}x{own[1]} alone; leave it out")
        return own
    most = MOST_SIDE * stride
    if size is None:
        scale = min(1.0, most / math.sqrt(picture[0] * picture[1]))
        return _divided(picture[0] * scale, stride), _divided(picture[1] * scale, stride)
    if size % stride or not stride <= size <= most:
        near = min(_divided(size, stride), most)
        raise UsageError(
            f"--size {size}: '{model.name}' codes sides that {stride} divides, up to {most}; for instance {near}"
        )
    return size, size


def _divided(side: float, stride: int) -> int:
    return max(stride, int(side) // stride * stride)


def fit_to(picture: Image.Image, target: WidthHeight, stride: int) -> tuple[Image.Image, str | None]:
    """``picture`` at the size ``target``, nothing stretched; and what was done to it, None where nothing was.

    Where less than ``stride`` is too much on either side, it is cut off and every pixel that stays is as it was.
    """
    (width, height), (w, h) = picture.size, target
    if picture.size == target:
        return picture, None
    if 0 <= width - w < stride and 0 <= height - h < stride:
        left, top = (width - w) // 2, (height - h) // 2
        return picture.crop((left, top, left + w, top + h)), f"of {width}x{height} the middle {w}x{h}"
    left, top, right, bottom = middle_box(picture.size, target)
    return fit_picture(picture, target), f"of {width}x{height} the middle {right - left}x{bottom - top}, now {w}x{h}"


def _check_fit(path: Path, coded: Coded, model: Model) -> None:
    """Refuse codes that are not this model's, before any of them is used."""
    system = model.system
    if coded.weights_sha256 != model.weights_sha256:
        raise WeightsError(
            f"{path} was coded by the weights {coded.weights_sha256[:16]} of '{coded.model}', and '{model.name}' has "
            f"{model.weights_sha256[:16]}: decode it --with the model that coded it, or encode the picture again"
        )
    channels, height, width = coded.shape
    stride = system.stride
    other = stride is not None and not (height % stride or width % stride)
    small = stride is None or (height // stride) * (width // stride) <= MOST_SIDE**2
    if channels != system.shape.channels or not small or not (other or coded.shape == tuple(system.shape)):
        raise DataError(f"{path} says that it codes a picture of {coded.shape}, which '{model.name}' does not take")
    with model.computing():
        wanted = system.encode(torch.zeros(1, *coded.shape, device=model.device))[0].shape
    if coded.values != system.codes or coded.codes.shape != wanted:
        raise DataError(
            f"{path} holds {tuple(coded.codes.shape)} codes of {coded.values or 'real'} values, and '{model.name}' "
            f"makes {tuple(wanted)} of {system.codes or 'real'} values: encode the picture again"
        )
