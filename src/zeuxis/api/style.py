"""A photograph in the style of paintings: the files, the network that compares, and the record of each result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from zeuxis.api.comparing import ComparingNetwork, compared
from zeuxis.api.model import load
from zeuxis.api.not_seen import not_seen
from zeuxis.api.pictures import sheet, to_pil
from zeuxis.api.reporting import Report
from zeuxis.api.still import alpha_of, picture_of, size_of
from zeuxis.editing.style_transfer import Optimisation, StyleWeights, losses, segments_of, transfer
from zeuxis.errors import Unsupported, UsageError
from zeuxis.files import file_hash
from zeuxis.pretrained.efficientnet_files import NAME
from zeuxis.provenance.record import SOURCE_TYPES, STYLED, record, require_replaceable, save_png
from zeuxis.rng import Stream

SIZE, LEAST_SIZE, MOST_SIZE = 384, 32, 4096  # pixels of the longer side
PHOTO = 3000.0  # weight of the matting Laplacian
SOURCE_TYPE = f"{SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"  # a photograph with what a network changed
DISCLOSURE = "This image was synthesised by Zeuxis from a picture in the style of another. It is not a photograph."


@dataclass(frozen=True)
class Styled:
    """A picture that was made: where it is, and how far it was and is from content and style (shares, 0 at best)."""

    file: Path
    like: Path
    before: dict[str, float]
    after: dict[str, float]


@dataclass(frozen=True)
class Styles:
    """What came of a photograph, in the order of the pictures whose style was asked for."""

    made: tuple[Styled, ...]
    sheet: Path | None
    features: str
    notes: tuple[str, ...] = ()  # what of a picture was not seen, one line each


def style(
    photo: str | Path,
    like: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    photographic: bool = False,
    size: int = SIZE,
    weight: float | None = None,
    iterations: int = 150,
    optimiser: Literal["adam", "lbfgs"] = "adam",
    features: str = NAME,
    segmenter: str | None = None,
    seed: int = 0,
    page: bool = True,
    device: str = "cpu",
    report: Report = lambda message, fraction: None,
) -> Styles:
    """Make ``photo`` in the style of each of ``like``; results are PNGs that carry the record of how they were made.

    They are transparent where the photo is.

    Args:
        out: the file (of one picture) or the folder of the results; by default ``PHOTO-like-NAME.png`` beside it.
        photographic: edges stay where they are, as in a photograph (Luan et al. 2017).
        size: pixels of the longer side of what is made, at most those of the photo.
        weight: of the style, over the content's 1; by default 40.
        iterations: at each of three scales.
        features: what compares them: ``efficientnet-lite0``, or a classifier, judge or segmenter that was trained here.
        segmenter: a model that segments, by whose layouts each kind of thing takes the style of its own kind.

    Raises:
        UsageError: a size, a weight or a number of iterations outside their ranges, or no such file.
        Unsupported: the features are not at hand; the message says how to come by them.
        DataError: a file that cannot be read.
    """
    source, likes = Path(photo), [Path(one) for one in like]
    if not likes:
        raise UsageError("say in whose style: zeuxis style photo.jpg --like painting.jpg")
    if not LEAST_SIZE <= size <= MOST_SIZE:
        raise UsageError(f"--size {size}: give pixels of the longer side, from {LEAST_SIZE} to {MOST_SIZE}")
    if weight is not None and not 0 < weight <= 1e6:
        raise UsageError(f"--weight {weight}: give a number above 0, a million at most")
    files = _files(source, likes, None if out is None else Path(out))
    place = _sheet_at(files, source) if page else None
    how = Optimisation(iterations=iterations, optimiser=optimiser)
    weights = StyleWeights(photo=PHOTO if photographic else 0.0)
    weights = weights if weight is None else replace(weights, style=weight)
    by, apart = compared(features, device), None if segmenter is None else load(segmenter, device)
    known = {"size": size, "iterations": iterations, "optimiser": optimiser, "features": by.name, **asdict(weights)}
    if apart is not None:
        known |= {"segmenter": apart.name, "segmenter_sha256": apart.weights_sha256}
    content = _read(source, size, device)
    alpha = alpha_of(str(source), (content.shape[3], content.shape[2]), str(source))
    notes = not_seen(source, "styled", "is transparent in the result")
    notes += [note for one in likes for note in not_seen(one, "looked at", "so it is in its style")]
    made, shown = list[Styled](), list[Tensor]()
    for k, (painting, file) in enumerate(zip(likes, files, strict=True)):
        wanted = _read(painting, size, device)
        parts = None if apart is None else segments_of(_layout(apart, content), _layout(apart, wanted))
        told = partial(_told, report, painting.name, k, len(likes))
        rng = Stream(seed, "style")
        image = transfer(content, wanted, by.space, weights, how, segments=parts, rng=rng, report=told)
        result = to_pil(image[0])
        if alpha is not None:
            result.putalpha(alpha)
        save_png(result, file, _recorded(by, source, painting, seed, known, device), SOURCE_TYPE)
        start, end = (losses(one, content, wanted, by.space, parts) for one in (content, image))
        made.append(Styled(file, painting, start, end))
        shown.append(image[0])
    if place is not None:
        known |= {"styles": [one.like.name for one in made], "sheet_of": len(made)}
        save_png(_page(source, likes, shown), place, _recorded(by, source, likes[0], seed, known, device), SOURCE_TYPE)
    return Styles(tuple(made), place, by.name, tuple(notes))


def _told(report: Report, name: str, k: int, many: int, message: str, share: float) -> None:
    report(f"{name}: {message}", (k + share) / many)


def _files(source: Path, likes: Sequence[Path], out: Path | None) -> list[Path]:
    """Where the results go; raises :class:`UsageError` for a place that would lose something."""
    if out is not None and out.suffix.lower() == ".png" and len(likes) == 1:
        files = [out]
    elif out is not None and out.suffix and not out.is_dir():
        raise UsageError(f"--out {out}: give NAME.png for one picture, or a folder")
    else:
        folder = source.parent if out is None else out
        files = [folder / f"{source.stem}-like-{one.stem}.png" for one in likes]
    if len(set(files)) < len(files):
        raise UsageError("two of the pictures whose style is wanted have one name: rename one, or give them one by one")
    for file in files:
        require_replaceable(file)
    return files


def _sheet_at(files: Sequence[Path], source: Path) -> Path:
    """Where the sheet goes: beside the first result."""
    place = files[0].with_name(f"{files[0].stem}-sheet.png" if len(files) == 1 else f"{source.stem}-styles.png")
    require_replaceable(place)
    return place


def _read(file: Path, size: int, device: str) -> Tensor:
    """The whole of a picture ``(1, 3, H, W)``, its longer side at most ``size``."""
    width, height = size_of(str(file), str(file))
    scale = min(1.0, size / max(width, height))
    sides = max(1, round(width * scale)), max(1, round(height * scale))
    if min(sides) < LEAST_SIZE:
        mend = "crop it, or give a larger --size" if min(width, height) >= LEAST_SIZE else "give a larger picture"
        raise UsageError(f"{file} would be {sides[0]}x{sides[1]} pixels, and {LEAST_SIZE} a side are needed: {mend}")
    return picture_of(str(file), 3, sides, str(file))[None].to(device)


def _layout(model: Any, image: Tensor) -> Tensor:
    """The layout ``(H, W)`` that a segmenter reads off ``(1, 3, H, W)``, at the picture's own size."""
    if "segment" not in model.verbs:
        raise Unsupported(f"'{model.name}' segments no pictures; it can: {', '.join(sorted(model.verbs))}")
    shape = model.system.shape
    with torch.inference_mode():
        small = interpolate(image, size=(shape.height, shape.width), mode="bilinear", antialias=True)
        classes = model.system.segment(small).argmax(1, keepdim=True).float()
    found: Tensor = interpolate(classes, size=image.shape[2:])[0, 0].long().clone()
    return found


def _recorded(
    by: ComparingNetwork, source: Path, painting: Path, seed: int, facts: dict[str, Any], device: str
) -> dict[str, Any]:
    """The record of a result."""
    sides = {"source": source, "style": painting}
    made = record(
        model=by.name,
        system=STYLED,
        weights_sha256=by.sha256,
        recipe=None,
        data=None,
        seed=seed,
        sampling=facts,
        condition={key: {"file": file.name, "sha256": file_hash(file)} for key, file in sides.items()},
        device=device,
    )
    return {**made, "disclosure": DISCLOSURE}


def _page(source: Path, likes: Sequence[Path], made: Sequence[Tensor]) -> Image.Image:
    """The photograph and the paintings above what came of them."""
    height, width = made[0].shape[1:]
    given = [to_pil(picture_of(str(one), 3, (width, height), str(one))) for one in (source, *likes)]
    blank = Image.new("RGB", (width, height), "white")
    return sheet([*given, blank, *map(to_pil, made)], columns=len(given))
