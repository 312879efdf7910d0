"""Pictures at two near points of the ways between latents, for the perceptual path length."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zeuxis.api.collectors import Chunk
from zeuxis.api.features import Features
from zeuxis.api.model import Model
from zeuxis.editing.paths import between
from zeuxis.editing.space import DecodedSpace
from zeuxis.knobs import Sampling
from zeuxis.metrics.path_length import EPSILON, path_lengths
from zeuxis.rng import ImageRng, Stream, derive_seed


class PathLengths:
    """A step on the way between two latents, which are drawn under the condition of a held-out example, for each."""

    def __init__(self, model: Model, space: Features, seed: int, how: Sampling) -> None:
        self.model, self.space, self.seed, self.how = model, space, seed, how
        self.rng = Stream(seed, "path-length")
        self.lengths: list[Tensor] = []
        self.done = 0

    def add(self, chunk: Chunk) -> None:
        n, system = len(chunk.real.image), self.model.system
        condition = chunk.real.condition.only(system.conditions)
        t = self.rng.uniform(n).tolist()
        with self.model.computing():
            ends = [system.draw_latents(condition, self._seeds(end, n), self.how) for end in ("first", "second")]
            space = DecodedSpace.of(self.model.name, system, ends[0][0])
            way = space.way(drawn=True)
            here, there = (
                system.decode(
                    torch.stack([between(a, b, u + step, way, space.told) for a, b, u in zip(*ends, t, strict=True)])
                )
                for step in (0.0, EPSILON)
            )
        self.lengths.append(path_lengths(self.space.of(here.float()), self.space.of(there.float())).cpu())
        self.done += n

    def _seeds(self, end: str, n: int) -> ImageRng:
        return ImageRng([derive_seed(self.seed, "path-length", end, k) for k in range(self.done, self.done + n)])

    def evidence(self) -> dict[str, Any]:
        return {"path_lengths": torch.cat(self.lengths)}
