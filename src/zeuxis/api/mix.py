"""Two pictures mixed, as a grid: who is in the first column is mixed with who is in the first row.

Of a model with a style space some layers are given the style codes of the other; of any other, latents go a share of
the way from one to the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeuxis.api.latent_steps import Between, MixedLayers, Step
from zeuxis.api.latents import Latents
from zeuxis.api.model import Model
from zeuxis.api.pictures import Pictures
from zeuxis.api.reporting import Report
from zeuxis.editing.styles import layers_of
from zeuxis.errors import UsageError
from zeuxis.knobs import Sampling

LAYERS, SHARE = "coarse", 0.5  # where neither is asked for


@dataclass(frozen=True)
class MixedGrid:
    """A grid of places of ``known``, row by row with the sources around it; the corner is empty.

    ``layers`` are those with the columns' styles, None where latents went the ``share`` of the way to the columns'.
    """

    known: Latents
    grid: tuple[int | None, ...]
    columns: int
    layers: range | None
    share: float | None

    @property
    def pictures(self) -> Pictures:
        """Those that are in the grid row by row, sources and mixtures, each with its record."""
        return self.known.pictures([k for k in self.grid if k is not None])

    def save(self, path: Path) -> Path:
        """Write the grid as one PNG."""
        return self.known.save_sheet(path, self.grid, self.columns)


def mix(
    model: Model,
    *,
    rows: Sequence[int] = (),
    columns: Sequence[int] = (),
    row_pictures: Sequence[str | Path] = (),
    column_pictures: Sequence[str | Path] = (),
    layers: str | None = None,
    share: float | None = None,
    how: Sampling = Sampling(),
    report: Report = lambda message, fraction: None,
    **asked: Any,
) -> MixedGrid:
    """Every picture of the rows mixed with every one of the columns: those of seeds, then one's own.

    Args:
        layers: the layers that are given the columns' styles: "coarse", "middle", "fine" or "2-5"; of a model with a
            style space, by default "coarse".
        share: of the way from row to column, in [0, 1]; of a model without one, by default the middle.
        asked: what steers the pictures of the seeds, as in ``Model.sample``: rows first, then columns.

    Raises Unsupported for layers of a model without a style space, UsageError for both layers and share, or nobody to
    mix.
    """
    known = Latents(model)
    if not (rows or row_pictures) or not (columns or column_pictures):
        raise UsageError("nobody to mix: give seeds or pictures for the rows, and for the columns")
    if not (rows or columns) and (how or any(value is not None for value in asked.values())):
        raise UsageError("knobs and conditions are for pictures that are drawn, and there are no seeds: leave them out")
    if layers is not None and share is not None:
        raise UsageError("layers and a share are two ways to mix: give one of them")
    if layers is not None:
        known.space.must_have_styles()
    chosen, part, way = _way(known, layers, share)
    known.must_fit((1 + len(rows) + len(row_pictures)) * (1 + len(columns) + len(column_pictures)))
    drawn = known.draw([*rows, *columns], how, **asked) if rows or columns else []
    own = known.encode([*row_pictures, *column_pictures]) if row_pictures or column_pictures else []
    left = [*drawn[: len(rows)], *own[: len(row_pictures)]]
    top = [*drawn[len(rows) :], *own[len(row_pictures) :]]
    grid: list[int | None] = [None, *top]
    for k, a in enumerate(left):
        report(f"row {k + 1} of {len(left)}", k / len(left))
        grid += [a, *(known.add(way(a, b)) for b in top)]
        for place in grid[-len(top) - 1 :]:
            assert place is not None  # the corner is in the first row
            known.image(place)
    return MixedGrid(known, tuple(grid), len(top) + 1, chosen, part)


def _way(
    known: Latents, layers: str | None, share: float | None
) -> tuple[range | None, float | None, Callable[[int, int], Step]]:
    """The layers that are mixed, or the share of the way; and the step that mixes two places."""
    if share is None and known.space.layers:
        found = layers_of(layers or LAYERS, known.space.layers)
        return found, None, lambda a, b: MixedLayers(a, b, found.start, found.stop)
    asked = SHARE if share is None else share
    if not (math.isfinite(asked) and 0 <= asked <= 1):
        raise UsageError(f"share {asked}: give one from 0 (the row's picture) to 1 (the column's)")
    return None, asked, lambda a, b: Between(a, b, known.path, asked)
