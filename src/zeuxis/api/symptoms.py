"""What a training shows of itself: its log, its settings, its model, and pictures of it beside those of its data.

Axes: M pictures made, N of the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from zeuxis.api.evaluate import drawn_under, held_out
from zeuxis.api.features import features_of
from zeuxis.api.model import Model
from zeuxis.data.source import Source
from zeuxis.data.worlds.points import CENTRES, STD
from zeuxis.knobs import Sampling
from zeuxis.metrics.modes import Modes, modes
from zeuxis.metrics.precision import Support, precision_recall
from zeuxis.recipe import Recipe
from zeuxis.rng import Stream

BANK = 5000  # training pictures that copies are looked for in
FEW = 30  # held-out pictures below which nothing is said of how pictures spread


@dataclass(frozen=True)
class Finding:
    """One failure: its name, the figures that show it, and what mends it."""

    name: str
    evidence: str
    mend: str


class Symptoms:
    """What a run shows. ``model`` and ``source`` are None where there is no model, or no data."""

    def __init__(
        self,
        recipe: Recipe | None,
        log: Sequence[dict[str, Any]],
        model: Model | None,
        source: Source | None,
        unseen: Source | None,
        samples: int,
        how: Sampling,
        card: dict[str, Any],
    ) -> None:
        self.recipe, self.log, self.model, self.source, self.unseen = recipe, log, model, source, unseen
        self.samples, self.how, self.card = samples, how, card
        self.figures: dict[str, float] = {}

    def note(self, **figures: float) -> None:
        """Keep figures for the report."""
        self.figures |= figures

    def series(self, name: str) -> list[float]:
        """The finite values of a figure of the log, in order."""
        values = (entry.get(name) for entry in self.log)
        return [v for v in values if isinstance(v, (int, float)) and math.isfinite(v)]

    def players(self) -> list[str]:
        """Those whose losses the log has."""
        names = dict.fromkeys(key for entry in self.log for key in entry if key.startswith("loss/"))
        return [name.removeprefix("loss/") for name in names]

    @property
    def rounds(self) -> int:
        """Iterations of the training; 0 where nothing says so."""
        return int(self.card.get("round") or max((entry.get("round", 0) for entry in self.log), default=0))

    @cached_property
    def drawn(self) -> tuple[Tensor, Tensor] | None:
        """Pictures made ``(M, C, H, W)`` and held-out ones ``(N, C, H, W)``, under their conditions where it obeys
        some; None where none are made."""
        if self.model is None or self.unseen is None or "sample" not in self.model.verbs:
            return None
        examples = held_out(self.unseen, self.samples)
        n = drawn_under(self.model, examples, self.samples)
        return self.model.draw(examples.condition, range(n), self.how), examples.image

    @cached_property
    def training(self) -> Tensor | None:
        """Some training pictures ``(N, C, H, W)``."""
        if self.source is None:
            return None
        return self.source.batch(Stream(0, "diagnose").permutation(len(self.source))[:BANK]).image

    @cached_property
    def modes(self) -> Modes | None:
        """Modes found, where the data have known ones."""
        if self.drawn is None or self.source is None or self.source.name not in CENTRES:
            return None
        return modes(self.drawn[0].flatten(1), CENTRES[self.source.name](), STD)

    @cached_property
    def support(self) -> Support | None:
        """Precision and recall in the features of the data."""
        if self.drawn is None or self.model is None or self.source is None or self.modes is not None:
            return None
        if min(map(len, self.drawn)) < FEW:
            return None
        space = features_of(self.source.name, shape=tuple(self.model.system.shape), device=self.model.device)
        made, real = (space.of(image).cpu() for image in self.drawn)
        return precision_recall(real, made)


def spread_of(rows: Tensor) -> float:
    """The deviation of rows ``(N, D)`` from their mean, a value."""
    return float((rows - rows.mean(0)).square().mean().sqrt())
