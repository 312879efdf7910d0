"""Are two pictures of the same subject? Scores of pairs, of which from 0 on say yes, against the truth.

Axes: M pictures of the second set.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.errors import UsageError


@dataclass(frozen=True)
class Verification:
    """Shares in [0, 1] of as many pairs of the same subject as of different ones.

    ``accuracy`` is the mean of ``accepted`` (of the same, taken for the same) and ``refused`` (of the
    different, taken for different). ``equal_error`` is the error at the threshold where both kinds of
    error are equally frequent: it does not depend on the threshold that the system chose.
    """

    accuracy: float
    accepted: float
    refused: float
    equal_error: float


def verification(same: Tensor, different: Tensor) -> Verification:
    """Judge the scores of pairs of the same subject ``(N,)`` and of different subjects ``(M,)``."""
    accepted, refused = same_person(same), 1 - same_person(different)
    return Verification((accepted + refused) / 2, accepted, refused, equal_error(same, different)[0])


def same_person(scores: Tensor) -> float:
    """The share of pairs (an edited face and its source, say) that are taken for the same person: score 0 or more."""
    if scores.ndim != 1 or not len(scores):
        raise UsageError(f"scores of pairs {tuple(scores.shape)}: want at least one, as (N,)")
    return float((scores >= 0).double().mean())


def equal_error(same: Tensor, different: Tensor) -> tuple[float, float]:
    """The error at the threshold where as large a share of ``same`` is refused as of ``different`` accepted.

    Returns the error and the threshold. Where no score balances them exactly, it is the nearest score
    and the mean of the two errors.
    """
    if not len(same) or not len(different):
        raise UsageError(f"{len(same)} pairs of the same subject, {len(different)} of different ones: want both")
    same, different = same.double().sort().values, different.double().sort().values
    at = torch.cat([same, different]).unique()
    missed = torch.searchsorted(same, at) / len(same)  # below the threshold
    taken = 1 - torch.searchsorted(different, at) / len(different)  # at it or above
    k = int((missed - taken).abs().argmin())
    return float((missed[k] + taken[k]) / 2), float(at[k])
