"""What holds of every seeded draw and of every order of batches."""

from __future__ import annotations

import json

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from zeuxis.counter import uniforms
from zeuxis.data.batches import Batches
from zeuxis.data.bucketed import BucketBatches
from zeuxis.data.degraded import DegradedSource
from zeuxis.data.ragged import Ragged, Shelves
from zeuxis.data.source import ArraySource, Source
from zeuxis.degrade.language import parse_chain
from zeuxis.rng import MAX_SEED, ImageRng, Rng, Stream, derive_seed

fast = settings(max_examples=40, deadline=None, derandomize=True)
SEEDS = st.integers(0, MAX_SEED)
NAMES = st.lists(st.text("abc/1", max_size=3) | st.integers(-3, 12), min_size=1, max_size=3)
KINDS = ("normal", "uniform", "integers", "poisson", "each")


def drawn(rng: Rng, kind: str, n: int) -> Tensor:
    """``n`` rows of one kind of draw."""
    match kind:
        case "normal":
            return rng.normal(n, 3)
        case "uniform":
            return rng.uniform(n, 3)
        case "integers":
            return rng.integers(1000, n, 3)
        case "poisson":
            return rng.poisson(torch.full((n, 3), 40.0))
        case _:
            return torch.stack([stream.normal(3) for stream in rng.each(n)])


# -- streams ------------------------------------------------------------------------------------------


@fast
@given(
    seeds=st.lists(SEEDS, min_size=2, max_size=6),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4),
    cut=st.integers(1, 5),
    order=st.randoms(use_true_random=False),
)
def test_an_image_s_draws_depend_on_its_seed_alone(seeds: list[int], kinds: list[str], cut: int, order: object) -> None:
    """However a call is split into batches, and in whatever order and company its images come."""
    together = ImageRng(seeds)
    rows = [drawn(together, kind, len(seeds)) for kind in kinds]
    places = list(range(len(seeds)))
    order.shuffle(places)  # type: ignore[attr-defined]
    for start in range(0, len(places), cut):
        part = places[start : start + cut]
        alone = ImageRng([seeds[k] for k in part])
        for kind, row in zip(kinds, rows, strict=True):
            assert torch.equal(drawn(alone, kind, len(part)), row[part])


@fast
@given(seed=SEEDS, n=st.integers(1, 4))
def test_a_user_s_seed_counts(seed: int, n: int) -> None:
    counted = ImageRng.counting(seed, n).normal(n, 2)
    assert all(torch.equal(counted[k], ImageRng([seed + k]).normal(1, 2)[0]) for k in range(n))


@fast
@given(seed=SEEDS, other=SEEDS, names=NAMES, more=NAMES)
def test_streams_of_other_seeds_or_names_are_others_and_the_same_again(
    seed: int, other: int, names: list[str | int], more: list[str | int]
) -> None:
    assert torch.equal(Stream(seed, *names).normal(8), Stream(seed, *names).normal(8))
    if seed != other:
        assert derive_seed(seed, *names) != derive_seed(other, *names)
    if "/".join(map(str, names)) != "/".join(map(str, more)):
        assert derive_seed(seed, *names) != derive_seed(seed, *more)
        assert not torch.equal(Stream(seed, *names).normal(8), Stream(seed, *more).normal(8))
    assert 0 <= derive_seed(seed, *names) <= MAX_SEED


@fast
@given(seed=SEEDS, names=NAMES, before=st.lists(st.sampled_from(KINDS), max_size=5))
def test_a_stream_is_not_moved_by_another_and_goes_on_from_its_state(
    seed: int, names: list[str | int], before: list[str]
) -> None:
    assume(seed != derive_seed(seed, *names))
    mine, other = Stream(seed), Stream(seed, *names)
    alone = Stream(seed)
    torch_state = torch.random.get_rng_state()
    for kind in before:
        drawn(other, kind, 2)  # draws of another stream, in between
        assert torch.equal(drawn(mine, kind, 2), drawn(alone, kind, 2))
    again = Stream(0)
    again.restore(mine.state())
    assert torch.equal(again.normal(4), mine.normal(4))
    assert torch.equal(torch_state, torch.random.get_rng_state()), "global random state was touched"


@fast
@given(key=SEEDS, index=st.lists(st.integers(0, 2**40), min_size=1, max_size=6), slots=st.integers(1, 5))
def test_counted_numbers_depend_on_key_index_and_slot_alone(key: int, index: list[int], slots: int) -> None:
    together = uniforms(key, torch.tensor(index), slots + 3)
    assert together.min() >= 0 and together.max() < 1
    for k, one in enumerate(index):
        assert torch.equal(uniforms(key, torch.tensor([one]), slots)[0], together[k, :slots])


# -- the order of batches -----------------------------------------------------------------------------


def numbered(n: int) -> Source:
    images = np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1).repeat(2, 2).repeat(2, 3)
    return DegradedSource(ArraySource("numbered", images), parse_chain("noise:0.01"))


def same(a: Batches | BucketBatches, b: Batches | BucketBatches, batches: int) -> None:
    for _ in range(batches):
        one, two = a.next(), b.next()
        assert torch.equal(one.index, two.index) and torch.equal(one.image, two.image)
        assert torch.equal(one.condition.source, two.condition.source)  # type: ignore[arg-type]


@fast
@given(n=st.integers(1, 20), size=st.integers(1, 9), seed=SEEDS, epochs=st.integers(1, 4))
def test_every_epoch_is_a_permutation_however_it_is_cut(n: int, size: int, seed: int, epochs: int) -> None:
    stream = Batches(numbered(n), size, seed)
    seen: list[int] = []
    while len(seen) < n * epochs:
        batch = stream.next()
        assert len(batch) == size
        seen += batch.index.tolist()
    met = [seen[start : start + n] for start in range(0, n * epochs, n)]
    assert all(sorted(epoch) == list(range(n)) for epoch in met)
    assert met[0] == Stream(seed, "order", 0).permutation(n).tolist()
    by_ones = Batches(numbered(n), 1, seed)
    assert [int(by_ones.next().index) for _ in range(n * epochs)] == seen[: n * epochs]


@fast
@given(
    n=st.integers(1, 15),
    size=st.integers(1, 6),
    seed=SEEDS,
    taken=st.integers(0, 12),
    strayed=st.integers(0, 5),
)
def test_a_stream_resumed_anywhere_is_the_uninterrupted_one(
    n: int, size: int, seed: int, taken: int, strayed: int
) -> None:
    """Orders, and the damage that is drawn anew in each epoch."""
    whole, resumed = Batches(numbered(n), size, seed), Batches(numbered(n), size, seed)
    for _ in range(taken):
        whole.next()
    for _ in range(strayed):
        resumed.next()
    resumed.restore(json.loads(json.dumps(whole.state())))
    same(whole, resumed, 8)
    assert whole.state() == resumed.state()


@fast
@given(n=st.integers(1, 15), ranks=st.integers(1, 4), each=st.integers(1, 3), seed=SEEDS)
def test_processes_share_one_stream(n: int, ranks: int, each: int, seed: int) -> None:
    whole = Batches(numbered(n), ranks * each, seed)
    parts = [Batches(numbered(n), ranks * each, seed, share=(k, ranks)) for k in range(ranks)]
    for _ in range(4):
        batch, shares = whole.next(), [part.next() for part in parts]
        assert torch.equal(batch.index, torch.cat([share.index for share in shares]))
        sources = [share.condition.source for share in shares]
        assert torch.equal(batch.condition.source, torch.cat(sources))  # type: ignore[arg-type]


def shelves(counts: list[int]) -> Source:
    sizes = np.array([(2, 2 + 2 * k) for k, n in enumerate(counts) for _ in range(n)])
    pixels = [np.full(int(h * w), row, np.uint8) for row, (h, w) in enumerate(sizes)]
    kept = Ragged(np.concatenate(pixels), sizes, 1)
    return DegradedSource(ArraySource("shelves", Shelves(kept, (2, 2))), parse_chain("noise:0.01"))


@fast
@given(
    counts=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    size=st.integers(1, 5),
    seed=SEEDS,
    taken=st.integers(0, 10),
)
def test_buckets_are_met_evenly_and_resumed_anywhere(counts: list[int], size: int, seed: int, taken: int) -> None:
    whole, resumed = BucketBatches(shelves(counts), size, seed), BucketBatches(shelves(counts), size, seed)
    met = {k: 0 for k in range(sum(counts))}
    for _ in range(taken):
        batch = whole.next()
        assert len(batch) == size
        for example in batch.index.tolist():
            met[example] += 1
    start = 0
    for n in counts:
        times = [met[k] for k in range(start, start + n)]
        assert max(times) - min(times) <= 1
        start += n
    resumed.restore(json.loads(json.dumps(whole.state())))
    same(whole, resumed, 6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 2**31 - 1))
def test_seeds_far_apart_draw_different_pictures(seed: int, times: int) -> None:
    """torch's own generator reads the low 32 bits of a seed alone."""
    drawn = ImageRng([seed, seed + times * 2**32, seed - 2**32]).normal(3, 4)
    assert len({tuple(row.tolist()) for row in drawn}) == 3
    assert torch.equal(drawn[0], torch.randn(4, generator=torch.Generator().manual_seed(seed)))
