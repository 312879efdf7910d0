"""A figure and what it must be read with: how many samples, in which features, against which reference."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Better = Literal["lower", "higher"]
FEW = 5_000  # samples below which distances between distributions are biased enough to mislead


@dataclass(frozen=True)
class Figure:
    """One measured number.

    ``features`` and ``reference`` are fingerprints (of the feature network's weights, and of the
    reference set's statistics or pictures); two figures can be compared only if both are equal.
    ``floor`` is what pictures of the data themselves reach in place of generated ones (training against
    held-out ones, as many): nothing below it is due to the model. ``resize`` names the filter that brought
    the pictures to the feature network's size.
    """

    name: str
    value: float
    samples: int
    better: Better
    spread: float | None = None  # standard deviation over subsets, or standard error, where the metric has one
    features: str | None = None
    reference: str | None = None
    resize: str | None = None
    of_distribution: bool = False  # it compares distributions, and so depends on the sample count
    biased: bool = True  # a distribution's figure of few samples is off on average, and does not spread more alone
    floor: float | None = None
    caution: str | None = None  # what this value means for the figures beside it, where it casts doubt on them

    @property
    def warning(self) -> str | None:
        """What the figure must not be read without, in one line; ``None`` when there is nothing."""
        if not math.isfinite(self.value):
            return f"{self.name} is {self.value}: not a number that can be compared"
        if self.of_distribution and self.samples < FEW:
            if self.biased:
                return f"{self.name} over {self.samples} samples: biased below {FEW}, compare only at equal counts"
            known = "its spread is unknown" if self.spread is None else f"uncertain by {self.spread:.2g}"
            return f"{self.name} over {self.samples} samples: not biased, but {known}"
        return self.caution

    def as_dict(self) -> dict[str, Any]:
        """The figure with its warning, ready for JSON; one that compares no distributions is not biased either."""
        return {**asdict(self), "biased": self.of_distribution and self.biased, "warning": self.warning}


def fingerprint(tensors: Tensor | Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits that name a tensor, or a ``state_dict`` in any order, by its contents."""
    named = {"": tensors} if isinstance(tensors, Tensor) else tensors
    digest = hashlib.sha256()
    for name in sorted(named):
        t = named[name].detach().cpu().contiguous()
        digest.update(f"{name} {t.dtype} {tuple(t.shape)}".encode())
        digest.update(t.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
