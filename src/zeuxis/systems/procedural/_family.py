"""What the generators share: there is nothing to learn."""

from __future__ import annotations

from collections.abc import Iterable

from zeuxis.batch import Batch
from zeuxis.game import System


class Generator(System):
    """Follows rules alone."""

    def fit(self, batches: Iterable[Batch]) -> None:
        """Nothing is learnt."""
