"""A picture edited by a diffusion model that was trained for no such thing: from noise on it, and within a mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from zeuxis.api.given import given, must_lie_on, must_mark
from zeuxis.api.model import MOST_IMAGES, Model
from zeuxis.api.pictures import Pictures
from zeuxis.api.still import mask_of, picture_of
from zeuxis.batch import Condition
from zeuxis.conditions import FIELDS
from zeuxis.editing.sdedit import edited
from zeuxis.errors import Unsupported, UsageError
from zeuxis.escaping import word
from zeuxis.knobs import COMMON, Sampling, Value
from zeuxis.rng import ImageRng
from zeuxis.signature import taking

EDITED = "edited"  # the key of a record that holds how its source was edited
STRENGTH = 0.6  # by default; of what a mask marks all is made


@taking({name: Any for name in FIELDS if name not in ("source", "mask")})
def edit(
    model: Model,
    picture: Any,
    mask: Any = None,
    n: int = 1,
    seed: int = 0,
    *,
    strength: float | None = None,
    knobs: Mapping[str, Value] | None = None,
    batch: int | None = None,
    **asked: Any,
) -> Pictures:
    """``n`` pictures made of one (SDEdit); picture k is that of seed ``seed + k``.

    Args:
        picture: a path, Pillow, an array or a tensor; the middle of it is brought to the model's size.
        mask: light or transparent where it is to be made; of the picture's proportions. The rest stays, bit for bit.
        strength: the share of the steps that are taken, above 0 and at most 1: the less, the nearer to the picture; by
            default :data:`STRENGTH`, and with a mask 1.
        knobs: what is turned of the model, by name.
        batch: pictures at a time.
        asked: the fields that the model obeys, as :meth:`zeuxis.api.model.Model.sample` takes them.

    Raises :class:`Unsupported` for a model that draws in no steps, or is given sources by itself (then ``sample`` with
    ``source`` edits); :class:`UsageError` for what cannot be read.
    """
    if given_anyway := sorted({"source", "mask"} & model.system.conditions):
        raise Unsupported(
            f"'{model.name}' is given a {' and a '.join(given_anyway)} by itself: "
            f"zeuxis sample {word(model.name)} --source PICTURE edits with it"
        )
    if not 1 <= n <= MOST_IMAGES:
        raise UsageError(f"cannot make {n} pictures in one call: ask for 1 to {MOST_IMAGES}")
    share = COMMON["strength"].check((1.0 if mask is not None else STRENGTH) if strength is None else strength)
    source, make = _read(model, picture, mask)
    condition, how = model.condition(n, **asked), Sampling(**(knobs or {}))
    seeds = range(seed, seed + n)

    def draw(told: Condition, rng: ImageRng, turned: Sampling) -> Tensor:
        here = source.to(model.device).expand(len(rng), -1, -1, -1)
        mark = None if make is None else make.to(model.device).expand(len(rng), -1, -1, -1)
        return edited(model.system, here, mark, float(share), told, rng, turned)

    made = model.draw_by(draw, condition, seeds, how, batch)
    shown = {"source": source} if make is None else {"source": source, "mask": make}
    plain = {name: given(name, model.spec, model.name).plain(value) for name, value in shown.items()}
    records = [
        {**one, "condition": {**one["condition"], **plain}, EDITED: {"strength": float(share)}}
        for one in model.records(seeds, condition, how, batch)
    ]
    return Pictures(made, tuple(records))


def _read(model: Model, picture: Any, mask: Any) -> tuple[Tensor, Tensor | None]:
    """The picture ``(1, C, H, W)`` and the mask ``(1, 1, H, W)`` at the model's size."""
    channels, height, width = model.system.shape
    source = picture_of(picture, channels, (width, height), "the picture")[None]
    if mask is None:
        return source, None
    masks, sources = (given(name, model.spec, model.name) for name in ("mask", "source"))
    must_lie_on(masks, sources, {"mask": mask, "source": picture})
    make = mask_of(mask, (width, height), "the mask")[None]
    must_mark(make)
    return source, make
