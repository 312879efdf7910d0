"""A picture of one's own projected into a generator's latent space: the file, what compares, and what is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zeuxis.api.comparing import ComparingNetwork, compared, compared_as_judged
from zeuxis.api.directions import SUFFIX, Directions, found_on, must_take_directions, spread
from zeuxis.api.given import sha256_of
from zeuxis.api.latents import Latents, must_take_sheet
from zeuxis.api.model import Model
from zeuxis.api.own_torch import own_torch
from zeuxis.api.pictures import Pictures, sheet, to_pil
from zeuxis.api.reporting import Report
from zeuxis.api.still import picture_of, size_of
from zeuxis.conditions import FIELDS
from zeuxis.editing.projection import STEPS, Projecting, projected
from zeuxis.errors import Unsupported, UsageError
from zeuxis.escaping import word
from zeuxis.losses.perceptual import unit_feature_distance
from zeuxis.metrics.similarity import psnr
from zeuxis.provenance.record import SOURCE_TYPES, require_replaceable, save_png
from zeuxis.rng import Stream
from zeuxis.signature import taking

MEAN_OF = 10_000  # latents (appendix D)
PIXELS = "pixels"  # the name of no network
COMPOSITE = f"{SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"
BESIDE = "The right picture was synthesised by Zeuxis, as near as it came to the left one, which was given."


@dataclass(frozen=True)
class Distances:
    """How far a picture is from the one that is looked for: mean squared difference of values in [-1, 1], and distance
    of the maps that a network makes of both, None where none compares."""

    pixels: float
    features: float | None


@dataclass(frozen=True)
class Projected:
    """What was found: the latent at ``place`` of ``known``, beside the picture ``wanted`` ``(C, H, W)``."""

    known: Latents
    place: int
    wanted: Tensor
    name: str  # of the picture's file
    features: str
    facts: dict[str, Any]
    before: Distances  # of the mean latent's picture
    after: Distances

    @property
    def latent(self) -> Tensor:
        """The latent ``(...)``, which ``Model.decode`` takes after ``[None]``."""
        return self.known.latent(self.place)

    @property
    def pictures(self) -> Pictures:
        """The picture that was found, with its record."""
        return self.known.pictures([self.place])

    @property
    def psnr(self) -> float:
        """Of the picture that was found, in dB."""
        return float(psnr(self.known.image(self.place)[None], self.wanted[None]))

    def held(self) -> Directions:
        """The latent as a file of latents has it."""
        return found_on(self.known.model, self.latent[None], (Path(self.name).stem,), self.facts, kind="latents")

    def save(self, out: Path) -> list[Path]:
        """Write the picture to ``out`` (.png), beside it the latent and a page with the picture that was given; what
        was written, in this order."""
        latent, page = files_beside(out)
        self.pictures.save(out)
        self.held().save(latent)
        tiles = [to_pil(self.wanted), to_pil(self.known.image(self.place))]
        made = {**self.known.record([self.place]), "sheet_of": 1, "disclosure": BESIDE}
        save_png(sheet(tiles, 2, self.known.scale), page, made, COMPOSITE)
        return [out, latent, page]


def files_beside(out: Path) -> tuple[Path, Path]:
    """Where the latent and the page go of a picture that is written to ``out``."""
    return out.with_suffix(SUFFIX), out.with_name(f"{out.stem}-beside.png")


@own_torch()
@taking(dict.fromkeys(FIELDS, Any))
def project(
    model: Model,
    picture: str | Path,
    *,
    steps: int = STEPS,
    seed: int = 0,
    each_layer: bool = False,
    features: str | None = None,
    out: Path | None = None,
    report: Report = lambda message, fraction: None,
    **asked: Any,
) -> Projected:
    """Look for the latent of ``model`` whose picture is nearest to ``picture``, by pixels and inner maps together.

    Args:
        steps: of the optimisation.
        seed: of the noise in it, and of the latents whose mean it begins at.
        each_layer: of a model with a style space: a style code for each layer, nearer to the picture but further from
            what the model draws.
        features: the network whose maps are compared: ``efficientnet-lite0``, a classifier, judge or segmenter that was
            trained here, or "pixels" for none; by default the shipped judge of the model's data, where there is one.
        out: where it will be written, so that what cannot be is refused before the first step.
        asked: what the model is told, such as its ``label``.

    Raises:
        Unsupported: a model that decodes no latents or draws none, one without a style space for ``each_layer``, or
            features that are not at hand.
        UsageError: no such picture, or a model that is to be told something and is not.
    """
    how = Projecting(steps)
    known = Latents(model)
    _must_be_drawn(model, asked)
    if each_layer:
        known.space.must_have_styles()
    if out is not None:
        _must_be_writable(out, Path(picture))
    channels, height, width = model.system.shape
    wanted = picture_of(str(picture), channels, (width, height), str(picture))
    by = _compared(model, features)
    report(f"{MEAN_OF:,} latents", None)
    drawn = spread(known, MEAN_OF, seed, report, **asked).to(model.device)
    codes = drawn[:, :1] if known.space.layers and not each_layer else drawn  # (N, ..., W)
    mean = codes.mean(0)
    deviation = float((codes - mean).square().sum(-1).mean().sqrt())
    target = wanted[None].to(model.device)
    maps = None if by is None else by.space.maps(target)

    def parts(image: Tensor) -> tuple[Tensor, Tensor | None]:
        near = None if by is None or maps is None else unit_feature_distance(by.space.maps(image), maps).mean()
        return (image - target).square().mean(), near

    def distance(image: Tensor) -> Tensor:
        pixels, near = parts(image)
        return pixels if near is None else pixels + near

    def decode(code: Tensor) -> Tensor:
        return model.system.decode(code.expand(known.space.shape)[None])

    def told(step: int, away: float) -> None:
        report(f"step {step + 1} of {steps}, {away:.3f} away", step / steps)

    def distances(code: Tensor) -> Distances:
        with torch.no_grad():
            pixels, near = parts(decode(code).clamp(-1, 1))
        return Distances(float(pixels), None if near is None else float(near))

    rng = Stream(seed, "project")
    found = projected(decode, distance, mean, deviation, rng, how, told=known.space.told, report=told)
    before, after = distances(mean), distances(found)
    facts: dict[str, Any] = {
        "by": "projection", "picture": Path(picture).name, "picture_sha256": sha256_of(wanted), "steps": steps,
        "seed": seed, "each_layer": each_layer, "features": PIXELS if by is None else by.name,
        "features_sha256": None if by is None else by.sha256, "pixels_away": after.pixels,
        "features_away": after.features,
    }  # fmt: skip
    place = known.hold(found.expand(known.space.shape).cpu(), facts)
    return Projected(known, place, wanted, Path(picture).name, facts["features"], facts, before, after)


def _must_be_drawn(model: Model, asked: dict[str, Any]) -> None:
    """Refuse a model that draws no latents, at whose mean the search begins, or is not told what it obeys."""
    if "draw_latents" not in model.verbs:
        encodes = f": it encodes pictures itself (zeuxis encode PICTURE --with {word(model.name)})"
        raise Unsupported(
            f"'{model.name}' draws no latents, at whose mean a projection begins (it can: "
            f"{', '.join(sorted(model.verbs))}){encodes if 'encode' in model.verbs else ''}"
        )
    for name in sorted(model.system.conditions - model.system.optional):
        if asked.get(name) is None:
            raise UsageError(f"'{model.name}' draws what it is told: say which {name} the picture has "
                             f"({FIELDS[name].option} {FIELDS[name].metavar})")  # fmt: skip


def _must_be_writable(out: Path, picture: Path) -> None:
    """Refuse, before the first step, what cannot be written, or to write over the picture that is given."""
    must_take_sheet(out)
    latent, page = files_beside(out)
    must_take_directions(latent)
    require_replaceable(page)
    if picture.resolve() in (out.resolve(), page.resolve()):
        raise UsageError(f"--out {out}: it would be written over your picture {picture}: give another name")


def _compared(model: Model, features: str | None) -> ComparingNetwork | None:
    """The network that compares, by the name that was asked for or of the model's data; None for pixels alone."""
    if features == PIXELS:
        return None
    if features is not None:
        return compared(features, model.device, model.system.shape.channels)
    return compared_as_judged(str(model.card.get("data", "")), tuple(model.system.shape), model.device)


def size_note(model: Model, picture: Path) -> str | None:
    """What was done to a picture of another size than the model's; None where nothing was."""
    _, height, width = model.system.shape
    given = size_of(str(picture), str(picture))
    if given == (width, height):
        return None
    return (
        f"{picture.name} has {given[0]}x{given[1]} pixels, and '{model.name}' draws {width}x{height}: its middle was "
        "brought to that"
    )
