"""Two worlds made by procedures: plants that dice decide, and land from fractal noise.

Sources of examples; the procedures themselves are in ``zeuxis.patterns``. Each split draws from a key of its own
among 2^64, so that no two share an example but by a chance of about 1e-7.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition
from zeuxis.counter import mix, uniforms
from zeuxis.data.worlds.world import World
from zeuxis.patterns.dice import DICE, FACES, HANDS, kind
from zeuxis.patterns.plants import grow
from zeuxis.patterns.terrain import CLASSES, land
from zeuxis.spec import DataSpec, Shape

NODES = 7  # of a plant's stem


class Plants(World):
    """``factors`` are the kinds of the throws at the nodes, from the foot up; ``label`` is the rarest of them."""

    name = "plants"
    natural = DataSpec(
        Shape(3, 64, 64),
        class_names=HANDS,
        factors=tuple((f"node_{k + 1}", len(HANDS)) for k in range(NODES)),
        provides=frozenset({"label", "factors"}),
    )

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64."""
        u = uniforms(self.key, self.checked(index), NODES * DICE)
        dice = (u * FACES).long().view(-1, NODES, DICE)
        kinds = kind(dice)  # (B, nodes)
        rarity = torch.tensor(_RARITY, device=index.device)
        label = rarity.argsort()[rarity[kinds].amax(1)]
        return Batch(grow(dice, self.size), Condition(label=label, factors=kinds), index)


_RARITY = (3, 0, 1, 2, 5, 4, 6, 7)  # of each of KINDS: 0 comes most often (see ``zeuxis.patterns.dice.chances``)


class Terrain(World):
    """``layout`` is what grows where: deep water, shallows, sand, grass, forest, rock, snow."""

    name = "terrain"
    natural = DataSpec(Shape(3, 64, 64), layout_names=CLASSES, provides=frozenset({"layout"}))

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64."""
        sea = uniforms(self.key, self.checked(index), 1)[:, 0]
        image, classes = land(mix(mix(index + 1) + self.key), sea, self.size)
        return Batch(image, Condition(layout=classes), index)
