"""What made pictures are worth to a classifier: trained on them, on real ones, and on both, tested on real ones.

Ravuri & Vinyals 2019, "Classification accuracy score for conditional generative models" (arXiv:1905.10887): the share
that a classifier predicts right which never saw a real picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainedOnSynthetic:
    """Shares in [0, 1] of ``tested`` real pictures that classifiers predict right, by what they were trained on: the
    ``made`` pictures alone, and so many ``real`` ones, alone and with the made ones."""

    alone: float
    real: Mapping[int, float]
    both: Mapping[int, float]
    made: int
    tested: int

    def __len__(self) -> int:
        return self.tested

    @property
    def parts(self) -> dict[str, float]:
        """By number of real pictures: those alone, and those with the made ones."""
        found: dict[str, float] = {}
        for n in self.real:
            found |= {f"{n} real": self.real[n], f"{n} real and {self.made} made": self.both[n]}
        return found
