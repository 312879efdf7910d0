"""Does the picture hold what its caption says? Factors that a judge predicts, against those of the caption.

Axes: N pictures, F factors.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.errors import UsageError

UNSAID = -1  # a factor that the caption leaves open: any prediction of it is right
FEW_RECOGNISED = 0.9  # the share of in-distribution pictures below which a judge's figures carry a warning


@dataclass(frozen=True)
class Agreement:
    """Shares in [0, 1] of ``samples`` pictures.

    ``factor`` has, for each factor, the share of the captions which state it that the picture obeys
    (NaN where none states it). ``whole`` is the share of pictures with every factor right except those
    in ``left_out``; ``all_factors`` the share with every factor right. A judge reads what the caption speaks of, and a
    third object does not make that wrong: ``recognised`` is the share that is wholly right and in distribution, where
    the judge was asked.
    """

    factor: dict[str, float]
    whole: float
    all_factors: float
    left_out: tuple[str, ...]
    samples: int
    recognised: float | None = None

    @property
    def parts(self) -> dict[str, float]:
        """The shares that explain ``whole``, by name."""
        return self.factor | ({} if self.recognised is None else {"recognised": self.recognised})


def agreement(
    prediction: Tensor,
    target: Tensor,
    names: Sequence[str],
    leave_out: Collection[str] = (),
    in_distribution: Tensor | None = None,
) -> Agreement:
    """Compare factor values, int64 ``(N, F)`` both; where ``target`` is ``UNSAID``, any prediction is right.

    ``in_distribution`` (N,) bool says which pictures the judge recognises.

    The scene is held to be right when every shape with its colour, the relation, and day or night are:
    so a caller leaves out the sizes, which a small picture shows least surely.
    """
    if prediction.shape != target.shape or prediction.ndim != 2 or prediction.shape[1] != len(names) or not len(target):
        raise UsageError(f"factors {tuple(prediction.shape)} against {tuple(target.shape)} under {len(names)} names")
    unknown = sorted(set(leave_out) - set(names))
    if unknown:
        raise UsageError(f"cannot leave out {', '.join(unknown)}: the factors are {', '.join(names)}")
    stated = target != UNSAID
    right = (prediction == target) | ~stated  # (N, F)
    counts = torch.tensor([name not in leave_out for name in names], device=prediction.device)
    whole = (right | ~counts).all(1)  # (N,)
    return Agreement(
        factor={name: float(right[stated[:, f], f].double().mean()) for f, name in enumerate(names)},
        whole=float(whole.double().mean()),
        all_factors=float(right.all(1).double().mean()),
        left_out=tuple(name for name in names if name in leave_out),
        samples=len(prediction),
        recognised=None if in_distribution is None else float((whole & in_distribution).double().mean()),
    )


def accuracy(prediction: Tensor, target: Tensor) -> float:
    """The share of the values stated in ``target``, of any shape, that ``prediction`` has right."""
    stated = target != UNSAID
    if prediction.shape != target.shape or not stated.any():
        found, wanted = tuple(prediction.shape), tuple(target.shape)
        raise UsageError(f"values {found} against {wanted}, {int(stated.sum())} of them stated: nothing to compare")
    return float((prediction == target)[stated].double().mean())


def recognised(in_distribution: Tensor) -> float:
    """The share of pictures that the judge takes for those of its data, from ``in_distribution`` (N,) bool."""
    return float(in_distribution.double().mean())


def caution(in_distribution: Tensor) -> str | None:
    """The warning for figures of pictures that the judge recognised too rarely; None where there is no need."""
    share = recognised(in_distribution)
    if share >= FEW_RECOGNISED:
        return None
    return f"only {share:.1%} of the pictures are recognised: of the others, the judge's predictions mean nothing"
