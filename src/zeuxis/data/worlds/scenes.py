"""The first world: one or two coloured shapes on the ground or in the sky, by day or at night.

Sources of examples. What a scene says is in ``grammar``, how it is placed and painted in ``stage``.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape, to_uint8
from zeuxis.counter import uniforms
from zeuxis.data.source import SetAside
from zeuxis.data.worlds import grammar
from zeuxis.data.worlds.stage import LAYOUT_CLASSES, SLOTS, Stage, coverage, layout, paint, stage
from zeuxis.data.worlds.world import of_split
from zeuxis.errors import UnknownName, UsageError
from zeuxis.rng import derive_seed

SINGLES = 0.2  # the share of pictures with one object
UNTOLD = 0.15  # the share of training captions that leave the sizes out, and of those that leave the time out
_DRAW_KEY = derive_seed(0, "scenes", "draw")
_OPEN = ("time", "size_1", "size_2")  # the factors that a caption may leave open


def descriptions() -> Tensor:
    """The factors of every scene that can be told, ``(N, F)`` int64: singles first, then pairs."""
    time, size, colour, shape = (
        torch.arange(len(v)) for v in (grammar.TIMES, grammar.SIZES, grammar.COLOURS, grammar.SHAPES)
    )
    none = torch.zeros(1, dtype=torch.int64)
    singles = torch.cartesian_prod(time, none, size, colour, shape, none, none, none)
    pairs = torch.cartesian_prod(time, torch.tensor([1, 2]), size, colour, shape, size + 1, colour + 1, shape + 1)
    return torch.cat([singles, pairs])


def split_descriptions(split: str) -> Tensor:
    """The rows of :func:`descriptions` that belong to ``split``."""
    return of_split(descriptions(), [values for _, values in grammar.FACTORS], split)


class Scenes:
    """Scenes with exact labels; example ``i`` of a split is the same scene in every run and at every size.

    ``label`` is the shape of the object that the caption names first; ``layout`` has ``LAYOUT_CLASSES``
    classes; ``factors`` are ``grammar.FACTORS``. The splits share no scene description, hence no complete
    caption. Some training captions leave out the sizes, the time or both, as people do.
    """

    gives = frozenset({"label", "caption", "layout", "factors"})
    words = grammar.WORDS
    factors = grammar.FACTORS
    class_names = grammar.SHAPES
    classes = len(grammar.SHAPES)
    layout_classes = LAYOUT_CLASSES
    set_aside: tuple[SetAside, ...] = ()  # nothing here is read from files

    def __init__(self, size: int = 32, split: str = "train", length: int = 1_000_000, time: str | None = None) -> None:
        if size < 8 or length < 1:
            raise UsageError(
                f"scenes: size {size}, length {length}: the size must be at least 8, the length at least 1"
            )
        rows = split_descriptions(split)
        if time is not None:
            if time not in grammar.TIMES:
                raise UnknownName("time", time, grammar.TIMES)
            rows = rows[rows[:, 0] == grammar.TIMES.index(time)]
        self.name = "scenes" if time is None else f"scenes-{time}"
        self.shape = Shape(3, size, size)
        self.length = length
        self.singles, self.pairs = rows[rows[:, 1] == 0], rows[rows[:, 1] > 0]
        self.key = derive_seed(0, "scenes", split, time or "any")
        self.untold = UNTOLD if split == "train" else 0.0

    def __len__(self) -> int:
        return self.length

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64, on the index's device."""
        scene, captions, label = self._scenes(index)
        cover = coverage(scene, self.shape.height)
        condition = Condition(label=label, caption=captions, layout=layout(scene, cover), factors=scene.factors)
        return Batch(paint(scene, cover), condition, index)

    def stage(self, index: Tensor) -> Stage:
        """The scenes of ``index``, placed and lit but not painted."""
        return self._scenes(index)[0]

    def instances(self, index: Tensor) -> Tensor:
        """Which pixels each object fills, bool ``(B, 2, H, W)``; object 1 is that of the factors."""
        return coverage(self.stage(index), self.shape.height) >= 0.5

    def captions(self) -> tuple[str, ...]:
        """Every caption of the split, each once, in a fixed order."""
        facts = [(row, swapped) for row in self.pairs.tolist() for swapped in (False, True)]
        facts += [(row, False) for row in self.singles.tolist()]
        return tuple(dict.fromkeys(grammar.describe(grammar.facts_from(*f)) for f in facts))

    def fingerprint(self) -> str:
        """SHA-256 (16 hex digits) of the length and 64 evenly spaced examples: pictures and captions."""
        batch = self.batch(_spread(self.length))
        return _hash(len(self), batch.condition.caption, batch.image)

    def _scenes(self, index: Tensor) -> tuple[Stage, tuple[str, ...], Tensor]:
        """The placed scenes of ``index``, their captions and the class named first ``(B,)``."""
        if ((index < 0) | (index >= self.length)).any():
            raise IndexError(f"{self.name}: examples {int(index.min())} to {int(index.max())} of {self.length}")
        u = uniforms(self.key, index, 3 + SLOTS + 2)
        single = u[:, 0] < SINGLES
        swapped = (u[:, 2] < 0.5) & ~single
        singles, pairs = self.singles.to(index.device), self.pairs.to(index.device)
        rows = torch.where(
            single[:, None],
            singles[(u[:, 1] * len(singles)).long().clamp(max=len(singles) - 1)],
            pairs[(u[:, 1] * len(pairs)).long().clamp(max=len(pairs) - 1)],
        )
        label = torch.where(swapped, rows[:, 7] - 1, rows[:, 4])
        untold = u[:, 3 + SLOTS :] < self.untold  # (B, 2): the sizes, the time
        told = zip(rows.tolist(), swapped.tolist(), untold.tolist(), strict=True)
        captions = tuple(
            grammar.describe(grammar.facts_from(row, swap), sizes=not no_sizes, time=not no_time)
            for row, swap, (no_sizes, no_time) in told
        )
        return stage(rows, u[:, 3 : 3 + SLOTS]), captions, label


class UnpairedScenes:
    """Night scenes (the image) beside unrelated day scenes (``source``): unpaired translation with known truth.

    ``factors`` are what a good translation shows: those of the source, but at night.
    """

    name = "scenes-day-night"
    gives = frozenset({"source", "factors"})
    set_aside: tuple[SetAside, ...] = ()
    words: tuple[str, ...] = ()
    factors = grammar.FACTORS
    class_names: tuple[str, ...] = ()
    classes = 0

    def __init__(self, size: int = 32, split: str = "train", length: int = 1_000_000) -> None:
        self.day = Scenes(size, split, length, "day")
        self.night = Scenes(size, split, length, "night")
        self.shape = self.day.shape

    def __len__(self) -> int:
        return len(self.day)

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64, on the index's device."""
        size = self.shape.height
        day, night = self.day.stage(index), self.night.stage(index)
        source = paint(day, coverage(day, size))
        wanted = day.factors.clone()
        wanted[:, 0] = grammar.TIMES.index("night")
        return Batch(paint(night, coverage(night, size)), Condition(source=source, factors=wanted), index)

    def fingerprint(self) -> str:
        """SHA-256 (16 hex digits) of the length and 64 evenly spaced examples: both pictures."""
        batch = self.batch(_spread(len(self)))
        assert batch.condition.source is not None  # this source gives it
        return _hash(len(self), None, batch.image, batch.condition.source)


def _spread(length: int, n: int = 64) -> Tensor:
    """``n`` indices (fewer of a shorter source), evenly spaced over it."""
    n = min(n, length)
    return torch.arange(n) * (length - 1) // max(1, n - 1)


def _hash(length: int, captions: tuple[str, ...] | None, *images: Tensor) -> str:
    digest = hashlib.sha256(f"{length} {tuple(images[0].shape[1:])} {captions}".encode())
    for image in images:
        digest.update(to_uint8(image).numpy().tobytes())
    return digest.hexdigest()[:16]


def draw(caption: str, n: int = 1, seed: int = 0, size: int = 32) -> Batch:
    """``n`` pictures of ``caption``; what it leaves open (a size, the time, the places) varies.

    Picture ``k`` depends on ``seed + k`` alone. The condition holds complete captions and factors.
    Raises ``UsageError`` for a caption that cannot be told.
    """
    facts = grammar.parse(caption)
    seeds = torch.arange(n) + seed
    rows = _complete(facts, seeds)
    captions = tuple(grammar.describe(grammar.facts_from(row, facts.swapped)) for row in rows.tolist())
    label = torch.full((n,), grammar.SHAPES.index(facts.first.shape))
    scene = stage(rows, uniforms(_DRAW_KEY, seeds, len(_OPEN) + SLOTS)[:, len(_OPEN) :])
    cover = coverage(scene, size)
    return Batch(
        paint(scene, cover), Condition(label=label, caption=captions, layout=layout(scene, cover), factors=rows)
    )


def _complete(facts: grammar.Facts, seeds: Tensor) -> Tensor:
    """The factors ``(B, F)`` of ``facts`` with what they leave open drawn from ``seeds`` (B,)."""
    rows = torch.tensor(grammar.factors_of(facts)).repeat(len(seeds), 1)
    coins = (uniforms(_DRAW_KEY, seeds, len(_OPEN)) < 0.5).long()  # each open factor has two values
    for coin, name in zip(coins.unbind(1), _OPEN, strict=True):
        k = list(grammar.VALUES).index(name)
        lowest = int("none" in grammar.VALUES[name])
        rows[:, k] = torch.where(rows[:, k] == grammar.UNSPECIFIED, lowest + coin, rows[:, k])
    return rows
