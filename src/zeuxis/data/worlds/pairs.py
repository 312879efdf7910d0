"""Two pictures of one person: what an embedding of identity is taught by."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.counter import uniforms
from zeuxis.data.worlds.faces import PICTURES, Faces
from zeuxis.data.worlds.world import World


class FacesPairs(World):
    """Example i shows person i of ``Faces`` twice: as ``image`` and, with factors drawn anew, as ``source``.

    Which two of the person's pictures these are is drawn too. No two examples show one person, so the
    source of any other example shows somebody else. Caption, layout and factors describe ``image``.
    """

    name = "faces-pairs"
    natural = replace(Faces.natural, source_shape=Faces.natural.shape, provides=Faces.natural.provides | {"source"})

    def __init__(self, size: int = 64, split: str = "train", length: int = 1_000_000) -> None:
        super().__init__(size, split, length)
        self.faces = Faces(size, split, PICTURES * length)

    def stated_factors(self, factors: Tensor) -> Tensor:
        return self.faces.stated_factors(factors)

    def pictures(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The examples of ``Faces`` that are ``image`` and ``source``, int64 ``(B,)`` each, never the same."""
        u = uniforms(self.key, self.checked(index), 2)
        first = (u[:, 0] * PICTURES).long()
        second = (first + 1 + (u[:, 1] * (PICTURES - 1)).long()).remainder(PICTURES)
        return PICTURES * index + first, PICTURES * index + second

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64."""
        first, second = self.pictures(index)
        both = self.faces.batch(torch.cat([first, second]))
        image, source = both.image.chunk(2)
        return Batch(image, replace(both.condition[: len(index)], source=source), index)
