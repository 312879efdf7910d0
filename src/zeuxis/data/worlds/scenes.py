"""The first world: one or two coloured shapes on the ground or in the sky, by day or at night.

Sources of examples. What a scene holds is in ``grammar``, how it is placed and painted in ``placement``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition
from zeuxis.counter import uniforms
from zeuxis.data.source import Source
from zeuxis.data.worlds import grammar
from zeuxis.data.worlds.placement import LAYOUT_NAMES, SLOTS, Placement, coverage, layout, paint, place
from zeuxis.data.worlds.world import World, of_split
from zeuxis.errors import UnknownName
from zeuxis.rng import derive_seed
from zeuxis.spec import DataSpec, Shape

SINGLES = 0.2  # the share of pictures with one object
OMITTED = 0.15  # the share of training captions that leave the sizes out, and of those that leave the time out
ONE_OMITTED = 0.1  # of those with two objects, the share that leaves one of the two sizes out
FRONT = 0.15  # the share that says the time first
_DRAW_KEY = derive_seed(0, "scenes", "draw")
_OPEN = ("time", "size_1", "size_2")  # the factors that a caption may leave open


def descriptions() -> Tensor:
    """The factors of every scene, ``(N, F)`` int64: singles first, then pairs."""
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


def size_tellings(single: bool) -> Mapping[tuple[bool, bool], float]:
    """How likely a training caption states the size of the first and of the second object."""
    if single:
        return {(False, True): OMITTED, (True, True): 1 - OMITTED}
    one = ONE_OMITTED / 2
    return {(False, False): OMITTED, (False, True): one, (True, False): one, (True, True): 1 - OMITTED - 2 * one}


TIME_TELLINGS: Mapping[tuple[bool, bool], float] = {
    (False, False): OMITTED,
    (True, True): FRONT,
    (True, False): 1 - OMITTED - FRONT,
}
"""How likely a training caption states the time, and says it first."""


def _telling(single: bool, of_sizes: float, of_time: float) -> grammar.Telling:
    """The telling that two uniform numbers choose."""
    return grammar.Telling(*_chosen(size_tellings(single), of_sizes), *_chosen(TIME_TELLINGS, of_time))


def _chosen(shares: Mapping[tuple[bool, bool], float], u: float) -> tuple[bool, bool]:
    for choice, share in shares.items():
        if u < share:
            return choice
        u -= share
    return list(shares)[-1]  # the sum of the shares may be a rounding below 1


class Scenes(World):
    """Scenes with exact labels; example ``i`` of a split is the same scene in every run and at every size.

    ``label`` is the shape of the object that the caption names first; ``layout`` has the classes
    ``LAYOUT_NAMES``; ``factors`` are ``grammar.FACTORS``. The splits share no scene description, hence no complete
    caption. Some training captions leave out a size, both or the time, or say it first, as people do.
    """

    name = "scenes"
    natural = DataSpec(
        Shape(3, 32, 32),
        class_names=grammar.SHAPES,
        layout_names=LAYOUT_NAMES,
        words=grammar.WORDS,
        factors=grammar.FACTORS,
        provides=frozenset({"label", "caption", "layout", "factors"}),
    )

    def __init__(self, size: int = 32, split: str = "train", length: int = 1_000_000, time: str | None = None) -> None:
        super().__init__(size, split, length)
        rows = split_descriptions(split)
        if time is not None:
            if time not in grammar.TIMES:
                raise UnknownName("time", time, grammar.TIMES)
            rows = rows[rows[:, 0] == grammar.TIMES.index(time)]
            self.name = f"scenes-{time}"
        self.singles, self.pairs = rows[rows[:, 1] == 0], rows[rows[:, 1] > 0]
        self.key = derive_seed(0, "scenes", split, time or "any")
        self.split = split

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64, on the index's device."""
        scene, captions, label = self._scenes(index)
        cover = coverage(scene, self.size)
        condition = Condition(label=label, caption=captions, layout=layout(scene, cover), factors=scene.factors)
        return Batch(paint(scene, cover), condition, index)

    def placed(self, index: Tensor) -> Placement:
        """The scenes of ``index``, placed and lit but not painted."""
        return self._scenes(index)[0]

    def instances(self, index: Tensor) -> Tensor:
        """Which pixels each object fills, bool ``(B, 2, H, W)``; object 1 is that of the factors."""
        return coverage(self.placed(index), self.size) >= 0.5

    def told(self, batch: Batch) -> tuple[str, ...]:
        assert batch.index is not None  # it is a batch of a source
        u = uniforms(self.key, self.checked(batch.index.cpu()), 3 + SLOTS + 2)
        return self._captions(u, *self._rows(u), whole=False)

    def captions(self) -> tuple[str, ...]:
        """Every caption of the split, each once, in a fixed order."""
        facts = [(row, swapped) for row in self.pairs.tolist() for swapped in (False, True)]
        facts += [(row, False) for row in self.singles.tolist()]
        return tuple(dict.fromkeys(grammar.sentence(grammar.facts_from(*f)) for f in facts))

    def _scenes(self, index: Tensor) -> tuple[Placement, tuple[str, ...], Tensor]:
        """The placed scenes of ``index``, their captions and the class named first ``(B,)``."""
        u = uniforms(self.key, self.checked(index), 3 + SLOTS + 2)
        rows, swapped = self._rows(u)
        label = torch.where(swapped, rows[:, 7] - 1, rows[:, 4])
        captions = self._captions(u, rows, swapped, whole=self.split != "train")
        return place(rows, u[:, 3 : 3 + SLOTS]), captions, label

    def _rows(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The factors ``(B, F)`` of the scenes of uniform numbers ``u``, and whether object 2 is named first."""
        single = u[:, 0] < SINGLES
        swapped = (u[:, 2] < 0.5) & ~single
        singles, pairs = self.singles.to(u.device), self.pairs.to(u.device)
        rows = torch.where(
            single[:, None],
            singles[(u[:, 1] * len(singles)).long().clamp(max=len(singles) - 1)],
            pairs[(u[:, 1] * len(pairs)).long().clamp(max=len(pairs) - 1)],
        )
        return rows, swapped

    def _captions(self, u: Tensor, rows: Tensor, swapped: Tensor, whole: bool) -> tuple[str, ...]:
        """The captions of scenes, with all that there is to say if ``whole``, else as people tell of them."""
        facts = map(grammar.facts_from, rows.tolist(), swapped.tolist())
        if whole:
            return tuple(map(grammar.sentence, facts))
        told = zip((rows[:, 1] == 0).tolist(), *u[:, 3 + SLOTS :].T.tolist(), strict=True)
        return tuple(grammar.sentence(fact, _telling(*each)) for fact, each in zip(facts, told, strict=True))


class UnpairedScenes(World):
    """Night scenes (the image) beside unrelated day scenes (``source``): unpaired translation with known truth.

    ``factors`` are what a good translation shows: those of the source, but at night.
    """

    name = "scenes-day-night"
    paired = False
    natural = DataSpec(
        Shape(3, 32, 32),
        source_shape=Shape(3, 32, 32),
        factors=grammar.FACTORS,
        provides=frozenset({"source", "factors"}),
    )

    def __init__(self, size: int = 32, split: str = "train", length: int = 1_000_000) -> None:
        super().__init__(size, split, length)
        self.day = Scenes(size, split, length, "day")
        self.night = Scenes(size, split, length, "night")

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64, on the index's device."""
        size = self.size
        day, night = self.day.placed(self.checked(index)), self.night.placed(index)
        source = paint(day, coverage(day, size))
        wanted = day.factors.clone()
        wanted[:, 0] = grammar.TIMES.index("night")
        return Batch(paint(night, coverage(night, size)), Condition(source=source, factors=wanted), index)

    def collections(self) -> tuple[Source, Source]:
        return self.day, self.night


def draw(caption: str, n: int = 1, seed: int = 0, size: int = 32) -> Batch:
    """``n`` pictures of ``caption``; what it leaves open (a size, the time, the places) varies.

    Picture ``k`` depends on ``seed + k`` alone. The condition holds complete captions and factors.
    Raises ``UsageError`` for a caption outside the grammar.
    """
    facts = grammar.parse(caption)
    seeds = torch.arange(n) + seed
    rows = _complete(facts, seeds)
    captions = tuple(grammar.sentence(grammar.facts_from(row, facts.swapped)) for row in rows.tolist())
    label = torch.full((n,), grammar.SHAPES.index(facts.first.shape))
    scene = place(rows, uniforms(_DRAW_KEY, seeds, len(_OPEN) + SLOTS)[:, len(_OPEN) :])
    cover = coverage(scene, size)
    return Batch(
        paint(scene, cover), Condition(label=label, caption=captions, layout=layout(scene, cover), factors=rows)
    )


def _complete(facts: grammar.Facts, seeds: Tensor) -> Tensor:
    """The factors ``(B, F)`` of ``facts`` with what they leave open drawn from ``seeds`` (B,)."""
    rows = torch.tensor(grammar.factors_of(facts)).repeat(len(seeds), 1)
    choices = (uniforms(_DRAW_KEY, seeds, len(_OPEN)) < 0.5).long()  # each open factor has two values
    for choice, name in zip(choices.unbind(1), _OPEN, strict=True):
        k = list(grammar.VALUES).index(name)
        lowest = int("none" in grammar.VALUES[name])
        rows[:, k] = torch.where(rows[:, k] == grammar.UNSPECIFIED, lowest + choice, rows[:, k])
    return rows
