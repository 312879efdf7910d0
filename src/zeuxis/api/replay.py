"""A picture drawn again from its record, and how far it is from the one that carries the record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from zeuxis.api.edit import EDITED, edit
from zeuxis.api.given import again, changes
from zeuxis.api.latents import KEY as LATENT
from zeuxis.api.latents import made_again
from zeuxis.api.model import Model, instruction_set, load
from zeuxis.api.pictures import Pictures
from zeuxis.api.prior import is_as_recorded, recorded
from zeuxis.api.restore_again import restoring_again
from zeuxis.conditions import FIELDS
from zeuxis.errors import DataError, NoSuchPath, UnknownName, Unsupported, UsageError
from zeuxis.fetching import named_by
from zeuxis.knobs import as_recorded
from zeuxis.provenance.record import RESTORER, STYLED, versions
from zeuxis.provenance.watermark import SCHEME, WATERMARK
from zeuxis.signature import taking
from zeuxis.training.threads import computing_on

MOST_COMPANY = 1024  # pictures that are drawn again for the sake of one
MOST_VALUES = 1 << 28  # in them: a gigabyte
ROUNDING = 2  # grey levels of 255 by which other threads, instructions or versions may move a value


@taking(dict.fromkeys(FIELDS, Any))
def replay(made: dict[str, Any], device: str = "cpu", **asked: Any) -> tuple[Pictures, list[str]]:
    """Draw a picture again from its record; also says what is not as it was then.

    It is drawn in a batch of the size that it was drawn in and in the same row of it, by as many threads, so that on
    the same kind of machine every bit is the same; with the watermark where the record says so, else without.

    ``asked`` are the pictures that it was made from (``source=...``), of which the record holds the hashes alone.
    """
    if made["system"] == RESTORER:
        raise Unsupported(f"this picture was restored from another one: {restoring_again(made)} makes it again")
    if made["system"] == STYLED:
        raise Unsupported("this picture was made in the style of another: zeuxis style makes it again from both")
    with named_by("the record", "draw anew instead, with zeuxis sample"):
        drawn, differs = _replayed(made, device, asked)
    if made.get(WATERMARK) == SCHEME and drawn.fit_to_mark:
        return drawn.marked(), differs
    unknown = [f"its watermark is of a kind ({made[WATERMARK]}) that is not made now"] if WATERMARK in made else []
    return drawn, differs + unknown


def with_recorded_prior(model: Model, made: Mapping[str, Any]) -> Model:
    """``model`` with the prior over its codes that a record names, if it names one."""
    prior = recorded(made)
    if prior is None:
        return model
    with TemporaryDirectory(prefix="zeuxis-") as apart:  # a record fits no prior, and writes none beside a user's model
        return model.with_prior(*prior, apart=Path(apart))


def _replayed(made: dict[str, Any], device: str, asked: Mapping[str, Any]) -> tuple[Pictures, list[str]]:
    model = _loaded(made, device)
    given = {name: value for name, value in asked.items() if value is not None}
    made = {**made, "sampling": as_recorded(model.knobs, made["sampling"])}
    wanted = again(made["condition"], model.spec, model.name, given)
    differs = [
        f"{name} was {made['versions'].get(name)}, is {now}"
        for name, now in versions().items()
        if made["versions"].get(name) != now
    ]
    if made["weights_sha256"] != model.weights_sha256:
        differs.append(f"the weights of '{model.name}' are not the ones that drew it")
    prior = recorded(made)
    model = with_recorded_prior(model, made)
    if prior is not None and not is_as_recorded(model.system, model.card, made):
        differs.append(f"the prior '{prior[0]}' over its codes is not the one that drew it")
    if made["device"] != device:
        differs.append(f"device was {made['device']}, is {device}")
    if LATENT in made:
        with computing_on(_threads(made, differs)):
            return made_again(model, made), differs
    picture, elsewhere = _drawn_again(model, made, wanted)
    return picture, differs + elsewhere + changes(made["condition"], picture.records[0]["condition"])


def _loaded(made: Mapping[str, Any], device: str) -> Model:
    """The model that a record names; where nothing lies there any more, how another place is named."""
    try:
        return load(made["model"], device, str(made.get("dtype", "float32")))
    except (UnknownName, NoSuchPath) as error:
        raise UsageError(
            f"{error}; where the model lies elsewhere by now, give that too: zeuxis sample FOLDER --replay PICTURE.png"
        ) from None


def _drawn_again(model: Model, made: dict[str, Any], wanted: dict[str, Any]) -> tuple[Pictures, list[str]]:
    """The picture in the company that it was drawn in, as far as the record tells; and what of that is otherwise."""
    drawn = made.get("drawn")
    if drawn is None:  # of an older version
        return model.sample(1, made["seed"], knobs=made["sampling"], **wanted), []
    batch, row, differs = drawn["batch"], drawn["row"], []
    height, width = size_of(made) or model.system.shape[1:]
    if batch > MOST_COMPANY or batch * model.system.shape[0] * height * width > MOST_VALUES:
        differs.append(f"it was drawn in a batch of {batch}, is drawn alone")
        batch, row = 1, 0
    with computing_on(_threads(made, differs)):
        seed, knobs = made["seed"] - row, made["sampling"]
        if EDITED in made:
            company = _edited_again(model, made, batch, seed, wanted)
        else:
            company = model.sample(batch, seed, knobs=knobs, batch=batch, size=size_of(made), **wanted)
    return company[row : row + 1], differs


def _edited_again(model: Model, made: dict[str, Any], batch: int, seed: int, wanted: Mapping[str, Any]) -> Pictures:
    """The pictures of a batch that were edited of one."""
    told = {name: value for name, value in wanted.items() if name not in ("source", "mask")}
    strength = made[EDITED].get("strength") if isinstance(made[EDITED], dict) else None
    if not isinstance(strength, float) or "source" not in wanted:
        raise DataError("this picture's record is damaged: it does not say how its source was edited")
    pictures = wanted["source"], wanted.get("mask")
    return edit(model, *pictures, batch, seed, strength=strength, knobs=made["sampling"], batch=batch, **told)


def _threads(made: dict[str, Any], differs: list[str]) -> int:
    """As many threads as the picture was drawn by, where there are so many; what is otherwise goes to ``differs``."""
    drawn, cores, now = made.get("drawn"), os.cpu_count() or 1, torch.get_num_threads()
    if drawn is None:
        return now
    if drawn["instructions"] != instruction_set():
        differs.append(f"the processor's instructions were {drawn['instructions']}, are {instruction_set()}")
    if drawn["threads"] > cores:
        differs.append(f"threads were {drawn['threads']}, are {now}: this machine has {cores}")
        return now
    return int(drawn["threads"])


def size_of(made: dict[str, Any]) -> tuple[int, int] | None:
    """Height and width of a recorded picture where they were asked for; None where it has its model's own size."""
    size = made.get("size")
    if size is None:
        return None
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int for side in size):
        raise DataError("this picture's record is damaged: its size is not height and width")
    return size[0], size[1]


@dataclass(frozen=True)
class Likeness:
    """How far two pictures are apart: the largest difference of a value in grey levels, and in how many values."""

    levels: int
    differing: int
    values: int

    @property
    def identical(self) -> bool:
        """Whether they are the same, pixel for pixel."""
        return self.levels == 0

    @property
    def same(self) -> bool:
        """Whether they are the same within :data:`ROUNDING`."""
        return self.levels <= ROUNDING

    def __str__(self) -> str:
        if self.identical:
            return "the same, pixel for pixel"
        apart = f"{self.differing:,} of {self.values:,} values differ, by at most {self.levels} of 255 levels"
        return f"the same within rounding: {apart}" if self.same else f"another picture: {apart}"


def likeness(one: Image.Image, other: Image.Image) -> Likeness:
    """How far two pictures are apart; where size or mode differ, every value is."""
    a, b = (np.asarray(image).astype(np.int16) for image in (one, other))
    if one.mode != other.mode or a.shape != b.shape:
        return Likeness(255, a.size, a.size)
    apart = np.abs(a - b)
    return Likeness(int(apart.max()), int(np.count_nonzero(apart)), apart.size)
