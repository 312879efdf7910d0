"""Layouts painted: by a model of layouts, or by one that was trained on layouts drawn as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from zeuxis.api.given import given
from zeuxis.api.model import Model
from zeuxis.api.pictures import Pictures, sheet, to_pil
from zeuxis.api.still import layout_of, picture_of, size_of
from zeuxis.data.pairing import borders, class_colours, coloured
from zeuxis.errors import Unsupported, UsageError
from zeuxis.knobs import Value
from zeuxis.spec import Size

LEAST_KEPT = 0.9  # of a layout, below which it is told
TILE = 128  # pixels a side that small pictures of a sheet are enlarged to


def drawn_as(model: Model) -> str | None:
    """``layout`` or ``outlines`` where the model's sources are layouts drawn so, as its data say; None elsewhere."""
    _, bar, pairing = str(model.card.get("data") or "").partition("|")
    return pairing.strip() if bar and pairing.strip() in ("layout", "outlines") else None


def class_table(model: Model) -> list[dict[str, Any]]:
    """The classes of a model's layouts: number, name, and colour as ``#rrggbb``."""
    _check(model)
    table = class_colours(len(model.spec.layout_names)).tolist()
    return [
        {"number": k, "name": name, "colour": "#{:02x}{:02x}{:02x}".format(*table[k])}
        for k, name in enumerate(model.spec.layout_names)
    ]


def paint(
    model: Model,
    layout: Any,
    style: Any = None,
    source: Any = None,
    n: int = 1,
    seed: int = 0,
    *,
    size: Size | None = None,
    knobs: Mapping[str, Value] | None = None,
) -> Pictures:
    """``n`` pictures of a layout; picture k is that of seed ``seed + k``.

    Args:
        layout: as :func:`zeuxis.api.still.layout_of` takes it: class numbers, or their colours.
        style: a picture whose style is wanted, of models with an encoder of styles; without it styles are drawn.
        source: what stands beside the layout, of models that were trained so. Where that is the outlines of layouts
            they are taken from this one.

    Raises :class:`Unsupported` for a model that paints no layouts, :class:`UsageError` for what cannot be read.
    """
    _check(model)
    drawn = model.at(size)
    classes = _classes(drawn, layout)
    takes = drawn.system.conditions
    asked: dict[str, Any] = {"layout": classes[0] if "layout" in takes else None, "style": style}
    if source is not None and "source" not in takes:
        raise Unsupported(f"'{model.name}' is given nothing beside a layout: leave the source out")
    if "source" in takes:
        way = drawn_as(model)
        if source is not None and way is not None and "layout" not in takes:
            raise UsageError(f"'{model.name}' is given its layout as the source: leave --source out")
        asked["source"] = source if source is not None or way is None else _drawn(classes, way)
    return drawn.sample(n, seed, knobs=knobs, **{name: value for name, value in asked.items() if value is not None})


def cut_off(layout: Path, made: Pictures) -> str | None:
    """A note, where more than a tenth of a layout was cut off to have the proportions of what was painted."""
    width, height = size_of(layout, str(layout))
    high, wide = made.tensor.shape[2:]
    kept = min(width / height, wide / high) / max(width / height, wide / high)
    if kept > LEAST_KEPT:
        return None
    return (
        f"{layout}: its middle was painted, {kept:.0%} of it, at {wide}x{high}: --size WIDTHxHEIGHT gives the model "
        "other proportions, where it can have them"
    )


def beside_layout(model: Model, layout: Any, style: Any, made: Pictures) -> Image.Image:
    """A sheet: the layout in the colours of its classes, the style where there is one, and what was painted."""
    height, width = made.tensor.shape[2:]
    shown = [to_pil(coloured(_classes(model, layout, (width, height)))[0])]
    if style is not None:
        shown.append(to_pil(picture_of(style, 3, (width, height), "the style")))
    return sheet([*shown, *made], columns=min(6, len(shown) + len(made)), scale=max(1, TILE // width))


def _check(model: Model) -> None:
    takes = model.system.conditions
    if "layout" not in takes and not (drawn_as(model) and "source" in takes):
        raise Unsupported(
            f"'{model.name}' paints no layouts: train one that does, such as zeuxis train spade --data scenes"
        )
    if not model.spec.layout_names:
        raise Unsupported(f"'{model.name}' does not say which classes a layout has: train it on data that give them")


def _classes(model: Model, layout: Any, size: tuple[int, int] | None = None) -> Tensor:
    """A class for every pixel, ``(1, H, W)``."""
    way = given("layout", model.spec, model.name)
    what = f"the layout {layout}" if isinstance(layout, (str, Path)) else "the layout"
    return layout_of(layout, size or way.size, model.spec.layout_names, what)[None]


def _drawn(classes: Tensor, way: str) -> Tensor:
    """A layout as a source ``(C, H, W)``."""
    found: Tensor = (2 * borders(classes) - 1 if way == "outlines" else coloured(classes))[0]
    return found.to(torch.float32)
