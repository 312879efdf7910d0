"""What is known of held-out pictures once and for all: moments, floors, distances to the training pictures.

All of it is a function of the pictures and of the feature space, so it is computed once and kept in the cache folder,
under a name made of the fingerprints of both. A floor is a figure of training pictures in place of generated ones, as
many: what a perfect model would be measured at.

Axes: N held-out pictures, M generated ones, D features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from zeuxis.api.features import Features
from zeuxis.data.cache import cache_dir, new_file
from zeuxis.data.source import Source
from zeuxis.data.subset import SubsetSource
from zeuxis.metrics.distance import nearest_squared
from zeuxis.metrics.evidence import Evidence
from zeuxis.metrics.frechet import Moments, frechet
from zeuxis.metrics.neighbours import thumbnails
from zeuxis.metrics.table import METRICS
from zeuxis.rng import Stream

VERSION = "1"  # of what is kept: another number makes everything anew
CHUNK = 256  # pictures held at a time
BANK = 60_000  # training pictures that are searched for copies, at most
OF_SPACE = ("frechet", "kernel", "precision", "recall", "density", "coverage")  # floors in the space of the call


def rows_searched(count: int) -> Tensor:
    """Which of ``count`` training pictures are searched for copies, int64 ``(N,)`` ascending: where there are more than
    :data:`BANK` so many of all, and not the first, since folders come class by class."""
    if count <= BANK:
        return torch.arange(count)
    return Stream(0, "searched", count).permutation(count)[:BANK].sort().values


def fingerprint_of(source: Source) -> str:
    """What tells examples from others: of a part, whose fingerprint is the whole's, also how many they are."""
    return f"{source.fingerprint()}{f'/of {len(source)}' if isinstance(source, SubsetSource) else ''}"


class Reference:
    """The examples ``order`` of held-out pictures, and the training pictures of the same data.

    A model may have ``learnt`` a part of these.
    """

    def __init__(self, held_out: Source, order: Tensor, training: Source, learnt: Source) -> None:
        self.held_out, self.order, self.training, self.learnt = held_out, order, training, learnt
        self.name = f"{fingerprint_of(held_out)}/{len(order)}"

    @cached_property
    def as_many(self) -> Tensor | None:
        """As many training pictures, in a fixed order; None where there are too few."""
        if len(self.training) < len(self.order):
            return None
        return Stream(0, "floor").permutation(len(self.training))[: len(self.order)]

    def moments(self, space: Features, features: Callable[[], Tensor] | None = None) -> Moments:
        """Of the held-out pictures in ``space``, with their root; ``features`` has those already computed."""

        def made() -> dict[str, Tensor]:
            found = Moments.of(features() if features else self._features(space, self.held_out, self.order))
            return {"mean": found.mean, "covariance": found.covariance, "root": found.root}

        kept = _kept(f"moments {self.name} {space.hash}", made)
        return Moments(len(self.order), kept["mean"], kept["covariance"], kept["root"])

    def floors(self, space: Features, real: Tensor) -> dict[str, float]:
        """The figures that training pictures reach in ``space``, by metric; ``real`` are held-out features (N, D)."""
        rows = self.as_many
        if rows is None:
            return {}

        def made() -> dict[str, Tensor]:
            fake = self._features(space, self.training, rows)
            evidence = Evidence(fake=fake, real=real, moments=self.moments(space, lambda: real))
            names = [name for name in OF_SPACE if len(rows) >= METRICS[name].least]
            return {name: torch.tensor(METRICS[name].value(evidence), dtype=torch.float64) for name in names}

        kept = _kept(f"floors {self.name} {self.training.fingerprint()} {space.hash}", made)
        return {name: float(value) for name, value in kept.items()}

    def frechet_floor(self, space: Features) -> float | None:
        """The Fréchet distance of training pictures in ``space``."""
        rows = self.as_many
        if rows is None:
            return None

        def made() -> dict[str, Tensor]:
            distance = frechet(self._features(space, self.training, rows), self.moments(space))
            return {"frechet": torch.tensor(distance, dtype=torch.float64)}

        return float(_kept(f"floor {self.name} {self.training.fingerprint()} {space.hash}", made)["frechet"])

    def to_training(self, generated: Tensor) -> tuple[Tensor, Tensor]:
        """Distances (M,) of ``generated`` thumbnails (M, D) to the nearest picture learnt, and of held-out ones."""

        def made() -> dict[str, Tensor]:
            return {"distance": self._nearest(_mapped(thumbnails, self.held_out, self.order))}

        part = f" searched {BANK} of all" if len(self.learnt) > BANK else ""
        kept = _kept(f"nearest {self.name} {fingerprint_of(self.learnt)}{part}", made)
        return self._nearest(generated), kept["distance"]

    def _nearest(self, query: Tensor) -> Tensor:
        searched = rows_searched(len(self.learnt))

        def bank() -> Iterator[tuple[int, Tensor]]:
            for start, rows in zip(range(0, len(searched), CHUNK), searched.split(CHUNK), strict=True):
                yield start, thumbnails(self.learnt.batch(rows).image)

        return nearest_squared(query, bank(), 1, len(searched))[0][:, 0].sqrt()

    def _features(self, space: Features, source: Source, rows: Tensor) -> Tensor:
        return _mapped(lambda image: space.of(image).cpu(), source, rows)


def _mapped(of: Callable[[Tensor], Tensor], source: Source, rows: Tensor) -> Tensor:
    """``of`` the pictures ``rows``, of which a chunk is held at a time."""
    return torch.cat([of(source.batch(some).image) for some in rows.split(CHUNK)])


def _kept(name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What is kept under ``name``, made first where it is not there yet."""
    digest = hashlib.sha256(f"{VERSION} {name}".encode()).hexdigest()[:32]
    path = cache_dir() / "references" / f"{digest}.safetensors"
    if not path.is_file():
        tensors = {key: value.contiguous() for key, value in make().items()}
        with new_file(path) as made:
            save_file(tensors, made)
    return load_file(path)
