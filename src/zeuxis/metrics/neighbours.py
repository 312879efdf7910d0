"""The nearest training pictures of what a model generated: has it memorised its data?

Axes: Q queries, N training (or held-out) pictures, M generated ones, k neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from zeuxis.errors import UsageError
from zeuxis.metrics.checks import finite
from zeuxis.metrics.distance import nearest
from zeuxis.metrics.two_sample import auroc

RARE = 0.01  # the share of held-out pictures that are taken for copies of training pictures
VALUES = 1024  # of a picture that distances are computed from


@dataclass(frozen=True)
class Neighbours:
    """Nearest first: Euclidean ``distance (Q, k)`` and the rows ``index (Q, k)`` of the training set."""

    distance: Tensor
    index: Tensor


def neighbours(query: Tensor, training: Tensor, k: int = 1) -> Neighbours:
    """The ``k`` nearest of ``training (N, ...)`` for each of ``query (Q, ...)``: pictures or features, of one kind."""
    if query.shape[1:] != training.shape[1:]:
        raise UsageError(f"neighbours of {tuple(query.shape[1:])} among {tuple(training.shape[1:])}: shapes must agree")
    if not 1 <= k <= len(training):
        raise UsageError(f"{k} neighbours out of {len(training)} training images: ask for 1 to {len(training)}")
    return Neighbours(*nearest(query, training, k))


def thumbnails(image: Tensor) -> Tensor:
    """``(B, C, H, W)`` as rows of at most 1,024 values ``(B, D)``: the pixels, halved in size until they are so few."""
    while image[0].numel() > VALUES and min(image.shape[-2:]) > 1:
        image = F.avg_pool2d(image, 2, ceil_mode=True)
    return image.flatten(1)


COPY = 1 / 3  # of the distance to the second nearest, below which the nearest is a copy


def memorised(query: Tensor, training: Tensor) -> float:
    """The share of ``query`` ``(Q, ...)`` that repeat one of ``training`` ``(N, ...)``: it lies less than a third as
    far as the second nearest.

    Yoon, Choi, Kwon & Ryu 2023, "Diffusion probabilistic models generalize when they fail to memorize". Unlike a
    distance alone it is not fooled by blurred pictures, which lie near to all.
    """
    found = neighbours(query, training, 2).distance
    return float((found[:, 0] < COPY * found[:, 1]).double().mean())


@dataclass(frozen=True)
class Copying:
    """How near generated pictures lie to training pictures, against how near held-out pictures do.

    ``share`` of them lie as near to one as the nearest hundredth of held-out pictures do; ``expected`` is that share of
    the held-out ones themselves, above 0.01 only where they hold copies. ``nearer`` is the chance that a generated
    picture lies nearer to its nearest training picture than a held-out one does to its own, 0.5 in a perfect model: the
    statistic of Meehan, Chaudhuri & Dasgupta 2020, "A non-parametric test to detect data-copying in generative models",
    arXiv:2004.05675, Eq. 1, over all of space.
    """

    share: float
    expected: float
    nearer: float
    error: float  # of ``nearer``


def copying(generated: Tensor, held_out: Tensor) -> Copying:
    """From distances to the nearest training picture, of generated pictures (M,) and of held-out ones (N,)."""
    if not len(generated) or not len(held_out):
        raise UsageError(f"{len(generated)} generated and {len(held_out)} held-out pictures: copies need both")
    finite("distances to training pictures", generated, held_out)
    ordered = held_out.double().sort().values
    limit = ordered[max(0, round(RARE * len(ordered)) - 1)]
    nearer, error = auroc(-generated, -held_out)
    share, expected = (float((x.double() <= limit).double().mean()) for x in (generated, ordered))
    return Copying(share, expected, nearer, error)
