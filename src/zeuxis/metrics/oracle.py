"""Does the picture hold what was asked? A world's factors, read off a picture, against those of its caption."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.errors import UsageError

UNSAID = -1  # a factor that the caption leaves open: any reading of it is right
FEW_KNOWN = 0.9  # the share of pictures known, below which a reader's figures are warned of


@dataclass(frozen=True)
class Agreement:
    """Shares in [0, 1] of ``samples`` pictures.

    ``factor`` has, for each factor, the share of the captions which state it that the picture obeys
    (NaN where none states it). ``whole`` is the share of pictures with every factor right except those
    in ``left_out``; ``all_factors`` the share with every factor right.
    """

    factor: dict[str, float]
    whole: float
    all_factors: float
    left_out: tuple[str, ...]
    samples: int


def agreement(found: Tensor, wanted: Tensor, names: Sequence[str], leave_out: Collection[str] = ()) -> Agreement:
    """Compare factor values ``found (N, F)`` and ``wanted (N, F)``, int64; ``UNSAID`` in ``wanted`` asks nothing.

    The scene is held to be right when every shape with its colour, the relation, and day or night are:
    so a caller leaves out the sizes, which a small picture shows least surely.
    """
    if found.shape != wanted.shape or found.ndim != 2 or found.shape[1] != len(names) or not len(found):
        raise UsageError(f"factors {tuple(found.shape)} against {tuple(wanted.shape)} under {len(names)} names")
    unknown = sorted(set(leave_out) - set(names))
    if unknown:
        raise UsageError(f"cannot leave out {', '.join(unknown)}: the factors are {', '.join(names)}")
    said = wanted != UNSAID
    right = (found == wanted) | ~said  # (N, F)
    counts = torch.tensor([name not in leave_out for name in names], device=found.device)
    return Agreement(
        factor={name: float(right[said[:, f], f].double().mean()) for f, name in enumerate(names)},
        whole=float((right | ~counts).all(1).double().mean()),
        all_factors=float(right.all(1).double().mean()),
        left_out=tuple(name for name in names if name in leave_out),
        samples=len(found),
    )


def accuracy(found: Tensor, wanted: Tensor) -> float:
    """The share of the values said in ``wanted``, of any shape, that ``found`` reads right."""
    said = wanted != UNSAID
    if found.shape != wanted.shape or not said.any():
        raise UsageError(f"values {tuple(found.shape)} against {tuple(wanted.shape)}, {int(said.sum())} of them said")
    return float((found == wanted)[said].double().mean())


def recognised(known: Tensor) -> float:
    """The share of pictures that a reader takes for those of its world, from ``known`` (N,) bool."""
    return float(known.double().mean())


def doubt(known: Tensor) -> str | None:
    """What is to be said of figures for which the reader abstained too often; None where it did not."""
    share = recognised(known)
    if share >= FEW_KNOWN:
        return None
    return f"only {share:.1%} of the pictures are recognised: of the others, what the reader found means nothing"
