"""Fisherfaces: the linear map that separates persons best. The baseline that learnt embeddings must beat.

Belhumeur, Hespanha & Kriegman 1997, "Eigenfaces vs. Fisherfaces: recognition using class specific linear
projection", IEEE TPAMI 19(7). Symbols -> code:
    x_k -> image and source, shrunk and flattened    mu -> mean    W_pca -> principal    S_W -> within
    S_B -> between    W_opt = W_pca W_fld -> axes, one a column
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.batch import Batch, Shape
from zeuxis.card import Card
from zeuxis.errors import DataError, UsageError
from zeuxis.game import System
from zeuxis.metrics.verification import equal_error

RIDGE = 1e-3  # of the mean variance within persons, added to each


class Fisherfaces(System):
    """Closed form, from the first batches of pairs.

    Args:
        side: pixels to which pictures are averaged down.
        components: principal components that are kept.
        axes: of the components, those that vary most between persons for their variation within a person.
        batches: of 1,000 pairs that it learns from, at most.
    """

    card = Card(
        "fisherfaces",
        title="Fisherfaces",
        family="recognition",
        year=1997,
        paper="Belhumeur et al. 1997, IEEE TPAMI 19(7)",
        verbs={"encode", "verify"},
        needs={"source"},
        departures=(
            "Persons come in pairs of pictures, from which both scatter matrices are computed.",
            "Two faces are compared by a threshold on their distance: nobody is enrolled.",
        ),
    )
    mean: Tensor
    projection: Tensor
    radius: Tensor

    def __init__(
        self, shape: Shape, *, side: int = 32, components: int = 200, axes: int = 32, batches: int = 10
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.side, self.components, self.batches = side, components, batches
        numbers = self.shape.channels * side * side
        if not 0 < axes <= components <= numbers:
            raise UsageError(f"{axes} axes of {components} components of {numbers} numbers: each at most the next")
        self.axes = axes
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("projection", torch.eye(numbers, axes))
        self.register_buffer("radius", torch.ones(()))  # distance up to which two faces are one person's

    def fit(self, batches: Iterable[Batch]) -> None:
        """W_opt (Eq. 4 and 5), whitened within persons, and the radius of equal errors on the same pairs."""
        firsts, seconds = [], []
        for batch in islice(batches, self.batches):
            assert batch.condition.source is not None  # the card needs it
            firsts.append(self._flat(batch.image))
            seconds.append(self._flat(batch.condition.source))
        first, second = torch.cat(firsts).double(), torch.cat(seconds).double()
        if len(first) < 2:
            raise DataError(f"fisherfaces cannot be fitted to {len(first)} pair: give at least 2 persons")
        both = torch.cat([first, second])
        mean = both.mean(0)
        principal = torch.linalg.eigh((both - mean).T @ (both - mean) / len(both))[1][:, -self.components :]
        a, b = (first - mean) @ principal, (second - mean) @ principal  # (N, components)
        within = (a - b).T @ (a - b) / (2 * len(a))  # S_W
        within += RIDGE * within.diagonal().mean().clamp(min=1e-12) * torch.eye(len(within)).to(within)
        between = ((a + b) / 2).T @ ((a + b) / 2) / len(a)  # S_B, and half of S_W, which moves no axis
        values, vectors = torch.linalg.eigh(within)
        white = vectors / values.sqrt()  # S_W becomes the identity
        order = torch.linalg.eigh(white.T @ between @ white)[1][:, -self.axes :]
        self.mean.copy_(mean)
        self.projection.copy_(principal @ white @ order)
        near, far = self._distance(first, second), self._distance(first, second.roll(1, 0))
        self.radius.fill_(-equal_error(-near, -far)[1])

    def encode(self, image: Tensor) -> Tensor:
        """``(B, axes)``: the coordinates along the discriminating axes, in deviations within a person."""
        return (self._flat(image) - self.mean) @ self.projection

    def verify(self, image: Tensor, other: Tensor) -> Tensor:
        """The radius less the distance of two pictures, pair by pair ``(B,)``."""
        return self.radius - self._distance(self._flat(image), self._flat(other))

    def _flat(self, image: Tensor) -> Tensor:
        return F.interpolate(image, size=(self.side, self.side), mode="area").flatten(1)

    def _distance(self, first: Tensor, second: Tensor) -> Tensor:
        return ((first - second).to(self.projection) @ self.projection).norm(dim=1)
