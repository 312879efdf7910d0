"""Two worlds made by procedures: plants that dice decide, and land from fractal noise.

Sources of examples; the procedures themselves are in ``zeuxis.patterns``.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape, to_uint8
from zeuxis.counter import mix, uniforms
from zeuxis.data.source import SetAside
from zeuxis.errors import UnknownName, UsageError
from zeuxis.patterns.dice import DICE, FACES, KINDS, kind
from zeuxis.patterns.plants import grow
from zeuxis.patterns.terrain import CLASSES, land
from zeuxis.rng import derive_seed

SPLITS = ("train", "val", "test")
NODES = 7  # of a plant's stem
HASHED = 64


class _World:
    """What both share: an endless supply of examples that depend on their index alone.

    Each split draws from a key of its own among 2^64, so that no two share an example but by a chance of about 1e-7.
    """

    set_aside: tuple[SetAside, ...] = ()
    words: tuple[str, ...] = ()
    name: str

    def __init__(self, size: int = 64, split: str = "train", length: int = 1_000_000) -> None:
        if split not in SPLITS:
            raise UnknownName("split", split, SPLITS)
        if size < 8 or length < 1:
            raise UsageError(f"{self.name}: size {size}, length {length}: at least 8, at least 1")
        self.shape = Shape(3, size, size)
        self.length = length
        self.key = derive_seed(0, self.name, split)

    def __len__(self) -> int:
        return self.length

    def batch(self, index: Tensor) -> Batch:
        raise NotImplementedError

    def _checked(self, index: Tensor) -> Tensor:
        if ((index < 0) | (index >= self.length)).any():
            raise IndexError(f"{self.name}: examples {int(index.min())} to {int(index.max())} of {self.length}")
        return index

    def fingerprint(self) -> str:
        """SHA-256 (16 hex digits) of the length, the size and 64 evenly spaced examples."""
        n = min(HASHED, self.length)
        batch = self.batch(torch.arange(n) * (self.length - 1) // max(1, n - 1))
        digest = hashlib.sha256(f"{self.length} {tuple(self.shape)}".encode())
        digest.update(to_uint8(batch.image).numpy().tobytes())
        return digest.hexdigest()[:16]


class Plants(_World):
    """``factors`` are the kinds of the throws at the nodes, from the foot up; ``label`` is the rarest of them."""

    name = "plants"
    gives = frozenset({"label", "factors"})
    class_names = KINDS
    classes = len(KINDS)
    factors = tuple((f"node_{k + 1}", len(KINDS)) for k in range(NODES))

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64."""
        u = uniforms(self.key, self._checked(index), NODES * DICE)
        dice = (u * FACES).long().view(-1, NODES, DICE)
        kinds = kind(dice)  # (B, nodes)
        rarity = torch.tensor(_RARITY)
        label = rarity.argsort()[rarity[kinds].amax(1)]
        return Batch(grow(dice, self.shape.height), Condition(label=label, factors=kinds), index)


_RARITY = (3, 0, 1, 2, 5, 4, 6, 7)  # of each of KINDS: 0 comes most often (see ``zeuxis.patterns.dice.chances``)


class Terrain(_World):
    """``layout`` is what grows where: deep water, shallows, sand, grass, forest, rock, snow."""

    name = "terrain"
    gives = frozenset({"layout"})
    class_names = CLASSES
    classes = len(CLASSES)
    factors: tuple[tuple[str, int], ...] = ()

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64."""
        sea = uniforms(self.key, self._checked(index), 1)[:, 0]
        image, classes = land(mix(mix(index + 1) + self.key), sea, self.shape.height)
        return Batch(image, Condition(layout=classes), index)
