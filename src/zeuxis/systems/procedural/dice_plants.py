"""Plants whose growth is decided by five dice: what a distribution over pictures is, with every probability known."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import UsageError
from zeuxis.knobs import Sampling
from zeuxis.patterns.dice import DICE, FACES, HANDS, chi_square, kind
from zeuxis.patterns.plants import grow
from zeuxis.rng import ImageRng, Rng
from zeuxis.systems.procedural._family import Generator
from zeuxis.verbs import Proof


class DicePlants(Generator):
    """At every node of the stem five dice are thrown; their kind (a pair, a straight, ...) decides what grows there.

    Args:
        nodes: of the stem, 1 or more.
    """

    card = Card(
        "dice-plants",
        title="Plants grown by dice",
        family="procedural",
        year=1657,
        paper="Huygens 1657, De ratiociniis in ludo aleae",
        learns=False,
        departures=("The rules of growth are ours; the probabilities are counted, not quoted.",),
    )

    def __init__(self, shape: Shape, *, nodes: int = 7) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        if self.shape.channels != 3 or self.shape.height != self.shape.width or nodes < 1:
            raise UsageError(
                f"dice-plants: {tuple(self.shape)}, {nodes} nodes: they are square, coloured, of 1 or more"
            )
        self.nodes = nodes

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        return grow(rng.integers(FACES, len(rng), self.nodes, DICE), self.shape.height)

    def proofs(self) -> Mapping[str, Proof]:
        return {"chi-square-p": Proof("higher", self._chi_square_p)}

    def _chi_square_p(self, samples: int, rng: Rng) -> float:
        """The chi-square test's p of the kinds of ``samples`` throws against their exact probabilities."""
        thrown = kind(rng.integers(FACES, samples, DICE))
        return chi_square(torch.bincount(thrown, minlength=len(HANDS)))
