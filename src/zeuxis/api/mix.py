"""Style mixing as a grid: who is in the first column is given the styles of who is in the first row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeuxis.api.latent_steps import MixedLayers
from zeuxis.api.latents import Latents
from zeuxis.api.model import Model
from zeuxis.api.pictures import Pictures
from zeuxis.api.reporting import Report
from zeuxis.editing.styles import layers_of
from zeuxis.knobs import Sampling


@dataclass(frozen=True)
class StyleGrid:
    """A grid of places of ``known``, row by row with the sources around it; the corner is empty."""

    known: Latents
    grid: tuple[int | None, ...]
    columns: int
    layers: range

    @property
    def pictures(self) -> Pictures:
        """Those that are in the grid, sources and mixtures, each with its record."""
        return self.known.pictures([k for k in self.grid if k is not None])

    def save(self, path: Path) -> Path:
        """Write the grid as one PNG."""
        return self.known.save_sheet(path, self.grid, self.columns)


def mix(
    model: Model,
    *,
    rows: Sequence[int],
    columns: Sequence[int],
    layers: str = "coarse",
    how: Sampling = Sampling(),
    report: Report = lambda message, fraction: None,
    **asked: Any,
) -> StyleGrid:
    """Every picture of the seeds ``rows`` with the styles of every one of ``columns`` in ``layers``: "coarse",
    "middle", "fine" or "2-5".

    Raises Unsupported for a model without a style space.
    """
    known = Latents(model)
    known.space.must_have_styles()
    chosen = layers_of(layers, known.space.layers)
    known.must_fit((1 + len(rows)) * (1 + len(columns)))
    drawn = known.draw([*rows, *columns], how, **asked)
    left, top = drawn[: len(rows)], drawn[len(rows) :]
    grid: list[int | None] = [None, *top]
    for k, a in enumerate(left):
        report(f"row {k + 1} of {len(left)}", k / len(left))
        grid += [a, *(known.add(MixedLayers(a, b, chosen.start, chosen.stop)) for b in top)]
    return StyleGrid(known, tuple(grid), len(top) + 1, chosen)
