"""What a model has learnt from: one example of it, and a picture made into such; to be drawn on and given to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from zeuxis.api.model import Model
from zeuxis.api.paint import drawn_as
from zeuxis.api.pictures import to_pil
from zeuxis.api.still import picture_of
from zeuxis.batch import Condition
from zeuxis.conditions import FIELDS, PICTURE_KINDS
from zeuxis.data.entries import ENTRIES
from zeuxis.data.library import WORLDS, open_source
from zeuxis.data.pairing import coloured, parse_pairing
from zeuxis.data.published import PUBLISHED
from zeuxis.data.unpaired_name import two_collections
from zeuxis.degrade.language import parse_chain
from zeuxis.errors import Unsupported
from zeuxis.rng import ImageRng, Stream


@dataclass(frozen=True)
class TrainingExample:
    """Example ``number`` of ``data``: by field, ``pictures`` of what steers the model, ``texts`` and classes of it."""

    data: str
    number: int
    pictures: dict[str, Image.Image]
    told: dict[str, Any]


def example_of(model: Model, seed: int = 0) -> TrainingExample:
    """A training example of the model's own data, chosen by ``seed``; a layout is in the colours of its classes.

    Raises :class:`Unsupported` where the model's data is no named set or world: folders are not opened here.
    """
    data = model.card.get("data")
    if not isinstance(data, str) or not all(_is_named(part) for part in two_collections(data) or (data,)):
        raise Unsupported(
            f"'{model.name}' has no examples to show: it learnt from {data or 'no data'}, which is no named set or "
            "world (zeuxis data lists those)"
        )
    source = open_source(data, model.spec.size, "train")
    at = Stream(seed, "example").integers(len(source), 1)
    painted = {"layout"} if drawn_as(model) else set[str]()  # is given as the source, and drawn by its classes
    given = source.batch(at).condition.only(model.system.conditions | painted)
    shown = {name: _shown(given, name) for name in sorted(given.given) if FIELDS[name].kind in PICTURE_KINDS}
    pictures = {name: found for name, found in shown.items() if found is not None}
    return TrainingExample(data, int(at), pictures, _told(given, model))


@dataclass(frozen=True)
class PreparedSource:
    """A picture after the ``degradation`` by which the sources of ``data`` are made."""

    data: str
    degradation: str
    picture: Image.Image


def prepared(model: Model, picture: Any, seed: int = 0) -> PreparedSource:
    """``picture`` made into what the model has learnt to be given: its edges, grey, small, as its data's pairs are.

    ``picture`` is as :func:`zeuxis.api.still.picture_of` takes it; the middle of it is brought to the model's size.
    What is random about it follows from ``seed``. Raises :class:`Unsupported` for a model whose pairs are not made so.
    """
    data = str(model.card.get("data") or "")
    _, bar, line = data.partition("|")
    if not bar or parse_pairing(line) is not None or "source" not in model.system.conditions:
        raise Unsupported(
            f"'{model.name}' has not learnt from pictures and what is made of them ({data or 'it has no data'}): give "
            "it its source as it is"
        )
    chain = parse_chain(line)
    channels, height, width = model.system.shape
    clean = picture_of(picture, channels, (width, height), "the picture")[None]
    source, _ = chain.with_mask(clean, ImageRng([seed]))
    return PreparedSource(data, str(chain), to_pil(source[0]))


def _is_named(text: str) -> bool:
    """Whether a name of data, without its pairing, is one of the lists'."""
    name = text.partition("|")[0].strip()
    return name in WORLDS or name in ENTRIES or name in PUBLISHED


def _shown(given: Condition, name: str) -> Image.Image | None:
    """A field of the one example as a picture; None of one with channels of several."""
    values: Tensor = given.required(name)
    if FIELDS[name].kind == "class map":
        return to_pil(coloured(values)[0])
    if FIELDS[name].kind == "mask":
        return to_pil(2 * values[0] - 1)
    return to_pil(values[0]) if values.shape[1] in (1, 3) else None


def _told(given: Condition, model: Model) -> dict[str, Any]:
    """Texts and classes of the one example."""
    told: dict[str, Any] = {}
    for name in sorted(given.given):
        match FIELDS[name].kind:
            case "text":
                told[name] = given.required(name)[0]
            case "class":
                told[name] = model.classes[int(given.required(name)[0])]
            case _:
                continue
    return told
