"""Latents of a model, the pictures of them, and the records that make both again.

Every picture's record has the steps (:mod:`zeuxis.api.latent_steps`) that led to its latent, in order, so that they are
its lineage too; a sheet's has those of all its pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from zeuxis.api.given import plain_of, sha256_of
from zeuxis.api.latent_steps import Drawn, Held, Step, lineage, read_step
from zeuxis.api.model import Model
from zeuxis.api.pictures import Pictures, sheet, to_pil
from zeuxis.batch import to_float
from zeuxis.editing.paths import PathName
from zeuxis.editing.space import DecodedSpace, must_be_continuous
from zeuxis.errors import DataError, Unsupported, UsageError
from zeuxis.escaping import word
from zeuxis.knobs import Sampling
from zeuxis.provenance.record import OF_LATENTS, require_replaceable, save_png

KEY = "latent"  # of a record
MOST_STEPS, MOST_SHOWN = 20_000, 4096  # of a record
Way = Literal["linear", "spherical", "auto"]
MOST_PIXELS = 1 << 27  # of a sheet
TILE = 96  # pixels a side that small pictures are enlarged to on sheets


class Latents:
    """Latents of ``model``, by the places of the steps that made them; each step is taken once, when it is added."""

    def __init__(self, model: Model) -> None:
        must_be_continuous(model.name, model.system)
        self.model = model
        self.steps: list[Step] = []
        self._values: list[Tensor] = []
        self._places: dict[str, int] = {}
        self._images: dict[int, Tensor] = {}

    @cached_property
    def space(self) -> DecodedSpace:
        """The space that the model's latents lie in."""
        return DecodedSpace.of(self.model.name, self.model.system, self.model.one_code())

    @property
    def path(self) -> PathName:
        """The way between two latents that suits them."""
        return self.space.way(drawn="draw_latents" in self.model.verbs)

    # -- steps ------------------------------------------------------------------------------------

    def add(self, step: Step) -> int:
        """The place of ``step``, which is taken now unless it was before."""
        key = repr(step)
        if key not in self._places:
            value = step.make(self)
            self._places[key] = len(self.steps)
            self.steps.append(step)
            self._values.append(value)
        return self._places[key]

    def draw(self, seeds: Sequence[int], how: Sampling = Sampling(), **asked: Any) -> list[int]:
        """Latents of ``seeds``, under what is ``asked`` of each as in ``Model.sample``."""
        if "draw_latents" not in self.model.verbs:
            able = ", ".join(sorted(self.model.verbs))
            raise Unsupported(
                f"'{self.model.name}' draws no latents of its own (it can: {able}): give pictures to begin with "
                "(--picture FILE), or a prior over its codes (--prior gaussian)"
            )
        self.model.check(how)
        condition = self.model.condition(len(seeds), **asked)
        plain = [
            plain_of(condition[k : k + 1].only(self.model.system.conditions), self.model.spec, self.model.name)
            for k in range(len(seeds))
        ]
        return [self.add(Drawn(seed, dict(how), under)) for seed, under in zip(seeds, plain, strict=True)]

    def encode(self, pictures: Sequence[str | Path]) -> list[int]:
        """Latents of a user's own pictures."""
        if "encode" not in self.model.verbs:
            mend = "give seeds"
            if "draw_latents" in self.model.verbs:
                looked_for = f"zeuxis project {word(self.model.name)} PICTURE"
                mend += f", or look for the picture's latent ({looked_for}), which walk and sample take as --latents"
            can = ", ".join(sorted(self.model.verbs))
            raise Unsupported(f"'{self.model.name}' encodes no pictures (it can: {can}): {mend}")
        codes = self.model.encode(list(pictures))
        names = [{"picture": Path(p).name, "sha256": sha256_of(c)} for p, c in zip(pictures, codes, strict=True)]
        return [self.hold(code, origin) for code, origin in zip(codes, names, strict=True)]

    def hold(self, latent: Tensor, origin: Mapping[str, Any], what: str = "the latent") -> int:
        """A latent, or a direction, that is given; raises UsageError for one of another space."""
        self.space.check(latent, what)
        return self.add(Held.of(latent, origin))

    def value(self, place: int) -> Tensor:
        """What the step at ``place`` made."""
        return self._values[place]

    def latent(self, place: int) -> Tensor:
        """The same as a latent of this model's space."""
        return self.space.check(self._values[place], "a latent")

    # -- pictures ---------------------------------------------------------------------------------

    def image(self, place: int) -> Tensor:
        """The picture ``(C, H, W)`` of the latent at ``place``: decoded alone, the same in any company."""
        if place not in self._images:
            made = self.model.decode_images(self.latent(place)[None], batch=1)[0].clamp(-1, 1)
            self._images[place] = made
        return self._images[place]

    def pictures(self, places: Sequence[int]) -> Pictures:
        """The pictures of some latents, each with the record of how its latent was made."""
        images = torch.stack([self.image(place) for place in places])
        return Pictures(images, tuple(self.record([place], lineage(self.steps, place)) for place in places))

    def record(self, places: Sequence[int | None], kept: Sequence[int] | None = None, **more: Any) -> dict[str, Any]:
        """The record of a picture, or of a sheet of several (None: a tile that is left white)."""
        used = sorted({k for place in places if place is not None for k in lineage(self.steps, place)})
        kept = used if kept is None else kept
        new = {old: k for k, old in enumerate(kept)}
        steps = [self.steps[old].at(new).plain() for old in kept]
        shown = [None if place is None else new[place] for place in places]
        seeds = [step.seed for k in kept if isinstance(step := self.steps[k], Drawn)]
        made = self.model.decoded_record(seeds[0] if seeds else 0)
        return {**made, "format": OF_LATENTS, KEY: {"steps": steps, "shown": shown, **more}}

    def sheet(
        self, places: Sequence[int | None], columns: int, scale: int | None = None, numbered: bool = False
    ) -> Image.Image:
        """Pictures in rows of ``columns``, with their numbers if ``numbered``; None leaves a tile white."""
        white = torch.ones(self.model.system.shape)
        tiles = [to_pil(white if place is None else self.image(place)) for place in places]
        page = sheet(tiles, columns, scale or self.scale)
        return with_numbers(page, len(places), columns) if numbered else page

    def must_fit(self, n: int) -> None:
        """Raise UsageError where one sheet cannot show ``n`` pictures, so that none is drawn in vain."""
        _, height, width = self.model.system.shape
        most = min(MOST_SHOWN, MOST_PIXELS // (height * width * self.scale**2))
        if n > most:
            raise UsageError(
                f"{n:,} pictures on a sheet: it shows at most {most:,} of '{self.model.name}'; ask for fewer"
            )

    @property
    def scale(self) -> int:
        """How many times a sheet enlarges pictures."""
        return max(1, TILE // self.model.system.shape.width)

    def save_sheet(self, path: Path, places: Sequence[int | None], columns: int, numbered: bool = False) -> Path:
        """Write a sheet as PNG, with the record of all that it shows."""
        must_take_sheet(path)
        self.must_fit(len(places))
        made = self.record(places, columns=columns, scale=self.scale, numbered=numbered)
        save_png(self.sheet(places, columns, numbered=numbered), path, made)
        return path


def must_take_sheet(path: Path) -> None:
    """Raise UsageError for another ending, in which there is no place for a record, or over a picture of one's own."""
    if path.suffix.lower() != ".png":
        raise UsageError(
            f"{path}: a sheet is written as PNG, which carries its record: give {path.with_suffix('.png')}"
        )
    require_replaceable(path)


def with_numbers(page: Image.Image, n: int, columns: int) -> Image.Image:
    """The sheet with the number of each picture in its corner."""
    rows = -(-n // columns)
    wide, high = (page.width - 2) / columns, (page.height - 2) / rows
    draw = ImageDraw.Draw(page)
    for k in range(n):
        x, y = 2 + (k % columns) * wide, 2 + (k // columns) * high
        box = draw.textbbox((x + 2, y + 1), str(k))
        draw.rectangle((box[0] - 2, box[1] - 1, box[2] + 2, box[3] + 1), fill="white")
        draw.text((x + 2, y + 1), str(k), fill="black")
    return page


# -- records ------------------------------------------------------------------------------------------


def read_steps(model: Model, made: Mapping[str, Any]) -> tuple[Latents, list[int | None]]:
    """The latents of a record, made again on ``model``, and the places of those that are shown.

    Raises DataError for a record that no latent tool wrote.
    """
    held = made.get(KEY)
    if not isinstance(held, dict) or not isinstance(held.get("steps"), list) or not isinstance(held.get("shown"), list):
        raise DataError("this record is damaged: it does not say how its latent was made")
    steps, shown = held["steps"], held["shown"]
    if len(steps) > MOST_STEPS or not 1 <= len(shown) <= MOST_SHOWN:
        raise DataError(f"this record is damaged: {len(steps)} steps and {len(shown)} pictures")
    known = Latents(model)
    places: list[int] = []
    for k, plain in enumerate(steps):
        step = read_step(plain, k)
        places.append(known.add(step.at(places)))
    if any(k is not None and (type(k) is not int or not 0 <= k < len(places)) for k in shown):
        raise DataError("this record is damaged: it shows a latent that no step makes")
    return known, [None if k is None else places[k] for k in shown]


def made_again(model: Model, made: Mapping[str, Any]) -> Pictures:
    """The picture, or the sheet, of a record of a latent tool."""
    known, shown = read_steps(model, made)
    if len(shown) == 1 and shown[0] is not None and "columns" not in made[KEY]:
        return known.pictures([shown[0]])
    columns, scale = made[KEY].get("columns"), made[KEY].get("scale")
    if type(columns) is not int or type(scale) is not int or not 1 <= columns <= len(shown) or scale < 1:
        raise DataError("this record is damaged: it does not say how its sheet is laid out")
    _, height, width = model.system.shape
    if len(shown) * height * width * scale**2 > MOST_PIXELS:
        raise DataError("this record is damaged: its sheet would have more pixels than any")
    numbered = made[KEY].get("numbered") is True
    page = np.asarray(known.sheet(shown, columns, scale, numbered))
    image = to_float(torch.from_numpy(page.copy()).movedim(-1, 0)[None])
    return Pictures(image, (known.record(shown, columns=columns, scale=scale, numbered=numbered),))
