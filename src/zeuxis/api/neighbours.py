"""The nearest training pictures of what a model draws, on one sheet: has it learnt them by heart?

Axes: N pictures that are drawn, k neighbours of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zeuxis.api.evaluate import others_by_now
from zeuxis.api.features import Features, features_of
from zeuxis.api.latents import must_take_sheet
from zeuxis.api.model import Model
from zeuxis.api.pictures import sheet, to_pil
from zeuxis.api.reference import rows_searched
from zeuxis.api.reporting import Report
from zeuxis.data.library import Data, data_of, fit_for, trained_part
from zeuxis.data.subset import SubsetSource
from zeuxis.errors import UsageError
from zeuxis.fetching import named_by
from zeuxis.knobs import Sampling
from zeuxis.metrics.distance import nearest_squared
from zeuxis.metrics.neighbours import thumbnails
from zeuxis.provenance.record import save_png

CHUNK = 256
TILE = 64  # pixels a side that small pictures are enlarged to
PIXELS, FEATURES = "pixels", "features"
MIXED = "The first column was synthesised by Zeuxis; the others are pictures of its training data, nearest first."


@dataclass(frozen=True)
class Nearest:
    """Pictures drawn ``(N, C, H, W)``, their records, and of each the k nearest of the training pictures: the
    ``distance`` ``(N, k)``, the ``index`` in the data and the ``images`` ``(N, k, C, H, W)``."""

    drawn: Tensor
    records: tuple[dict[str, Any], ...]
    distance: Tensor
    index: Tensor
    images: Tensor
    space: str
    searched: int  # training pictures, drawn from all where there are more
    there_are: int
    changed: str | None = None  # where those are not the pictures that it was trained on, a line that says so

    def save(self, path: Path) -> Path:
        """Write the sheet: a row for each picture drawn, its neighbours after it."""
        must_take_sheet(path)
        rows = torch.cat([self.drawn[:, None], self.images], 1)  # (N, 1 + k, C, H, W)
        page = sheet([to_pil(x) for x in rows.flatten(0, 1)], rows.shape[1], max(1, TILE // rows.shape[-1]))
        found = {"of": self.space, "distance": self.distance.tolist(), "index": self.index.tolist(),
                 "searched": self.searched}  # fmt: skip
        made = {**self.records[0], "sheet_of": len(self.drawn), "neighbours": found, "disclosure": MIXED}
        save_png(page, path, made, COMPOSITE)
        return path


COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


def neighbours(
    model: Model,
    *,
    n: int = 8,
    k: int = 5,
    seed: int = 0,
    of: str = PIXELS,
    data: str | Data | None = None,
    how: Sampling = Sampling(),
    report: Report = lambda message, fraction: None,
    **asked: Any,
) -> Nearest:
    """The ``k`` nearest training pictures of each of ``n`` that the model draws, by the distance ``of`` "pixels" (of
    thumbnails) or "features" (those in which the model's data are measured)."""
    if of not in (PIXELS, FEATURES):
        raise UsageError(f"--of {of}: write {PIXELS} or {FEATURES}")
    named = data or model.card.get("data")
    if not named:
        raise UsageError(f"'{model.name}' does not say what data it was trained on: give --data")
    with named_by(f"the card of '{model.name}'", f"--data {named} does") if data is None else nullcontext():
        opened = data_of(named)
        training = opened.open(model.system.spec.size, "train", fit_for(model.card, opened.name))
        changed = others_by_now(model, opened) if data is None else None
    source = trained_part(model.card, opened.name, training)
    if tuple(source.spec.shape) != tuple(model.system.shape):
        makes, holds = tuple(model.system.shape), tuple(source.spec.shape)
        raise UsageError(f"'{model.name}' makes {makes}, '{opened.name}' holds {holds}: give other --data")
    searched = rows_searched(len(source))
    size = len(searched)
    if not 1 <= k <= size:
        raise UsageError(f"{k} neighbours out of {size} training pictures: ask for 1 to {size}")
    made = model.sample(n, seed, knobs=how, **asked)
    space: Features | None = None
    if of == FEATURES:
        space = features_of(opened.name, shape=tuple(model.system.shape), device=model.device)

    def measured(image: Tensor) -> Tensor:
        return thumbnails(image) if space is None else space.of(image).cpu()

    def bank() -> Iterator[tuple[int, Tensor]]:
        for start, rows in zip(range(0, size, CHUNK), searched.split(CHUNK), strict=True):
            report(f"training pictures {start} of {size}", start / size)
            yield start, measured(source.batch(rows).image)

    squared, place = nearest_squared(measured(made.tensor), bank(), k, size)
    index = searched[place]  # in the source
    images = source.batch(index.flatten()).image.unflatten(0, (n, k))
    index = source.chosen[index] if isinstance(source, SubsetSource) else index  # in the data
    name = PIXELS if space is None else space.name
    return Nearest(
        made.tensor, made.records, squared.clamp_min(0).sqrt(), index, images, name, size, len(source), changed
    )
