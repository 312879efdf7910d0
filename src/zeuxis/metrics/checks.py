"""What every metric demands of the numbers that it is given.

Axes: N and M pictures of two sets, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeuxis.errors import UsageError


def finite(what: str, *sets: Tensor) -> None:
    """Refuse numbers that are not finite: a distance from them would be NaN, or silently that of the others."""
    for x in sets:
        if x.sum().isfinite():  # quick, and what is not finite does not sum to anything that is
            continue
        bad = int((~torch.isfinite(x)).any(1).sum()) if x.ndim > 1 else int((~torch.isfinite(x)).sum())
        if bad:
            raise UsageError(
                f"{what}: {bad} of {len(x)} rows are not finite, so nothing can be measured from them: "
                "look for damaged weights, or pictures outside [-1, 1]"
            )


def of_one_network(a: Tensor, b: Tensor) -> None:
    """Refuse sets ``(N, D)`` and ``(M, D)`` that are not features of one network."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise UsageError(f"features {tuple(a.shape)} and {tuple(b.shape)}: use one feature network for both")
    finite("features", a, b)
