"""Image quilting (Efros & Freeman 2001, doi:10.1145/383259.383296): texture from patches of one example."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.knobs import Sampling
from zeuxis.patterns.perlin import fractal
from zeuxis.patterns.quilting import boundary_error, quilt
from zeuxis.rng import ImageRng, Rng
from zeuxis.systems.procedural._family import Generator
from zeuxis.verbs import Proof


class Quilting(Generator):
    """The source is the example of the texture; what is made is of its size, and never the same.

    Args:
        patch: the side of a patch, as a share of the shorter side.
        overlap: what neighbours share, as a share of a patch (the paper's 1/6).
        sewn: whether patches are chosen and cut; if not, they are laid at random (the paper's Figure 2a).
    """

    card = Card(
        "quilting",
        title="Image quilting",
        family="procedural",
        year=2001,
        paper="Efros & Freeman 2001, doi:10.1145/383259.383296",
        needs={"source"},
        learns=False,
    )

    stride = 1  # of any size

    def __init__(self, shape: Shape, *, patch: float = 0.3, overlap: float = 1 / 6, sewn: bool = True) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.patch, self.overlap, self.sewn = patch, overlap, sewn
        self.sides()  # which refuses those that there are not

    def sides(self) -> tuple[int, int]:
        """Pixels of a patch's side, and of what it shares with a neighbour, for pictures of this size."""
        least = min(self.shape.height, self.shape.width)
        patch = round(self.patch * least)
        overlap = max(1, round(self.overlap * patch))
        if not overlap < patch <= least:
            raise UsageError(f"quilting: patches of {patch} pixels that share {overlap}: change patch or overlap, or "
                             "take larger pictures")  # fmt: skip
        return patch, overlap

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        assert condition.source is not None  # the card needs it
        size, sides = (self.shape.height, self.shape.width), self.sides()
        pairs = zip(condition.source, rng.each(len(rng)), strict=True)
        return torch.stack([quilt(e, size, *sides, own, sewn=self.sewn) for e, own in pairs])

    def proofs(self) -> Mapping[str, Proof]:
        return {"boundary-error": Proof("lower", self._boundary)}

    def _boundary(self, samples: int, rng: Rng) -> float:
        """The mean step across the seams of quilts of noise, over the mean step anywhere: 1 is seamless."""
        axis = torch.arange(64) / 8
        found = []
        for own in rng.each(samples):
            example = fractal(own.integers(2**62, 1), [axis, axis], 3)
            made = quilt(example, (96, 96), 20, 4, own, sewn=self.sewn)
            found.append(boundary_error(made, 20, 4))
        return sum(found) / len(found)
