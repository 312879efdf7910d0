"""What holds of every degradation: its range, its seeds, and that no two splits or epochs share a damage."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zeuxis.data.bucketed import BucketBatches
from zeuxis.data.degraded import DegradedSource
from zeuxis.data.library import open_source
from zeuxis.data.ragged import Ragged, Shelves
from zeuxis.data.source import ArraySource
from zeuxis.data.unpaired import UnpairedSource
from zeuxis.degrade import blind, kernels
from zeuxis.degrade.blind import FIRST, SECOND, Blind
from zeuxis.degrade.language import DEGRADATIONS, parse_chain
from zeuxis.degrade.sharpen import SIGMA, sharpened
from zeuxis.rng import ImageRng, Stream

RANDOM = {
    "noise",
    "blind-noise",
    "shot",
    "sensor",
    "grain",
    "uncrop",
    "hole",
    "strokes",
    "scratches",
    "age",
    "blind",
    "blind-face",
}
EXTREMES = ("random", "white", "black", "checks")


def pictures(kind: str, n: int, height: int, width: int, seed: int) -> Tensor:
    """``n`` pictures at the ends of the range, where a filter overshoots and noise leaves it, or random ones."""
    checks = (torch.arange(height)[:, None] // 2 + torch.arange(width) // 2) % 2 * 2.0 - 1
    made = {
        "white": torch.ones(n, 3, height, width),
        "black": -torch.ones(n, 3, height, width),
        "checks": checks.expand(n, 3, -1, -1).clone(),
    }
    return made.get(kind, Stream(seed).uniform(n, 3, height, width) * 2 - 1)


@pytest.mark.parametrize("name", sorted(DEGRADATIONS))
@settings(max_examples=5, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(EXTREMES),
    height=st.sampled_from((8, 16)),
    width=st.sampled_from((8, 12, 20)),
    seed=st.integers(0, 2**40),
)
def test_a_picture_stays_a_picture_and_a_seed_a_damage(
    name: str, kind: str, height: int, width: int, seed: int
) -> None:
    chain, x = parse_chain(name), pictures(kind, 2, height, width, seed)
    y = chain(x, ImageRng([seed, seed + 1]))
    assert y.isfinite().all() and y.min() >= -1 and y.max() <= 1
    factor = y.shape[2] / height
    assert factor in (1, 1 / 4) and y.shape == (2, 3, int(height * factor), int(width * factor))
    assert torch.equal(y, chain(x, ImageRng([seed, seed + 1])))
    alone = chain(x[1:], ImageRng([seed + 1]))
    torch.testing.assert_close(y[1:], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_no_two_splits_epochs_or_examples_share_a_damage(name: str) -> None:
    images = np.full((12, 3, 16, 16), 200, np.uint8)  # one picture twelve times
    index = torch.arange(12)

    def damage(split: str, epoch: int) -> Tensor:
        source = DegradedSource(ArraySource("same", images), parse_chain(name), split).at(epoch)
        found = source.batch(index).condition.source
        assert found is not None
        return found.flatten(1)

    train, later, test = damage("train", 0), damage("train", 1), damage("test", 0)
    assert (train != train[:1]).any(), "every example has the same damage"
    few = 4 if name == "uncrop" else 12  # it has four sides to choose from
    assert len({tuple(row.tolist()) for row in train}) >= min(few, 3)
    assert not torch.equal(train, test) and not torch.equal(train, later)
    assert torch.equal(test, damage("test", 5)), "a held-out example keeps its damage"
    assert torch.equal(train, damage("train", 0))


def test_noise_of_one_example_in_two_splits_is_unrelated() -> None:
    grey = ArraySource("grey", np.full((4, 3, 64, 64), 128, np.uint8))
    noise = [
        DegradedSource(grey, parse_chain("noise:0.1"), split).batch(torch.arange(4)) for split in ("train", "test")
    ]
    one, other = (batch.condition.source - batch.image for batch in noise)  # type: ignore[operator]
    assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].abs() < 0.02  # 5 / sqrt(49,152)


def test_splits_by_name_have_their_own_damage() -> None:
    parts = {split: open_source("digits | noise:0.1", 16, split) for split in ("train", "val", "test")}
    assert [source.split for source in parts.values()] == ["train", "val", "test"]  # type: ignore[attr-defined]


def test_buckets_meet_a_new_damage_in_every_round_and_resume_bit_equal() -> None:
    sizes = np.array([[8, 8], [8, 16]] * 3)
    kept = Ragged(np.full(int(3 * sizes.prod(1).sum()), 128, np.uint8), sizes, 3)
    source = DegradedSource(ArraySource("shelves", Shelves(kept, (8, 8))), parse_chain("noise:0.1"))
    stream, seen = BucketBatches(source, 3, 0), {}
    for _ in range(4):
        batch = stream.next()
        for k, example in enumerate(batch.index.tolist()):
            seen.setdefault(example, []).append(batch.condition.source[k])  # type: ignore[index]
    assert all(len(two) == 2 and not torch.equal(*two) for two in seen.values())
    resumed = BucketBatches(source, 3, 0)
    resumed.restore(stream.state())
    halves = [BucketBatches(source, 4, 1, share=(k, 2)).next().condition.source for k in range(2)]
    whole = BucketBatches(source, 4, 1).next().condition.source  # a batch that goes on into the next round
    assert torch.equal(torch.cat(halves), whole)  # type: ignore[arg-type]
    for _ in range(3):
        assert torch.equal(stream.next().condition.source, resumed.next().condition.source)  # type: ignore[arg-type]


def test_unpaired_pictures_meet_another_partner_in_every_epoch() -> None:
    one, other = (
        ArraySource(name, np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)) for name in ("targets", "origins")
    )
    both = UnpairedSource("both", one, other)

    def partners(epoch: int) -> list[int]:
        source = both.at(epoch).pixels(torch.arange(40)).condition.source
        assert source is not None
        return source.flatten().tolist()

    assert partners(0) == both.pixels(torch.arange(40)).condition.source.flatten().tolist()  # type: ignore[union-attr]
    epochs = [partners(epoch) for epoch in range(4)]
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4 and partners(2) == epochs[2]


# -- the published second-order chain (2107.10833) ------------------------------------------------------


def test_blind_ends_on_the_levels_of_a_file() -> None:
    x = pictures("checks", 30, 32, 32, 0)
    levels = (Blind(4)(x, ImageRng.counting(0, 30)) + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)
    assert levels.min() >= 0 and levels.max() <= 255


def test_blind_resizes_the_second_time_relative_to_the_small_side(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    real = blind._interpolated

    def noted(image: Tensor, size: tuple[int, int], mode: str) -> Tensor:
        sizes.append(size)
        return real(image, size, mode)

    monkeypatch.setattr(blind, "_interpolated", noted)
    Blind(4)(torch.zeros(30, 3, 32, 64), ImageRng.counting(0, 30))
    first, second, last = sizes[::3], sizes[1::3], sizes[2::3]
    assert set(last) == {(8, 16)}
    for rounds, (height, width), stage in ((first, (32, 64), FIRST), (second, (8, 16), SECOND)):
        scales = [wide / width for _, wide in rounds]
        assert min(scales) >= stage.resize[0] - 1 / width and max(scales) <= stage.resize[1]
        assert max(scales) > 1 and min(scales) < 0.6
        assert all(abs(tall - wide * height / width) <= 1 for tall, wide in rounds)


def test_blind_draws_shapes_half_below_the_gaussian_s_and_half_above(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: dict[str, list[float]] = {"generalised": [], "plateau": []}
    for name, found in shapes.items():
        real = getattr(kernels, name)

        def noted(*given: Tensor, real: object = real, found: list[float] = found) -> Tensor:
            found.append(float(given[4]))
            return real(*given)  # type: ignore[operator, no-any-return]

        monkeypatch.setattr(kernels, name, noted)
    rng = Stream(0)
    for _ in range(3000):
        blind._kernel(rng, FIRST.sigma)
    generalised, plateau = (torch.tensor(found) for found in shapes.values())
    assert len(generalised) > 300 and len(plateau) > 300  # about 0.9 (0.12 + 0.03) of 3,000 each
    assert 0.4 < (generalised < 1).float().mean() < 0.6 and generalised.min() < 0.6 and generalised.max() > 3.8
    assert 0.4 < (plateau == 1).float().mean() < 0.6 and plateau.min() == 1 and 1.9 < plateau.max() <= 2


def test_sharpening_leaves_what_is_plain_and_steepens_an_edge() -> None:
    plain = torch.full((1, 3, 60, 60), 0.3)
    torch.testing.assert_close(sharpened(plain), plain)
    faint = plain.clone()
    faint[..., 30:] += 8 / 127.5  # at most four levels from its blur: below the threshold of ten
    assert torch.equal(sharpened(faint), faint)
    edge = torch.full((1, 1, 120, 120), -0.4, dtype=torch.float64)
    edge[..., 60:] = 0.4
    # Across the edge the blur is 0.8 Phi(x / sigma) - 0.4, on pixels' sums; the soft mask is what is near.
    x = torch.arange(-25, 26, dtype=torch.float64)
    weights = torch.exp(-0.5 * (x / SIGMA) ** 2)
    weights /= weights.sum()
    row = torch.cat([torch.full((60,), -0.4), torch.full((60,), 0.4)]).double()
    blurred = F.conv1d(F.pad(row[None, None], (25, 25), mode="reflect"), weights[None, None])[0, 0]
    near = F.conv1d(
        F.pad(((row - blurred).abs() * 127.5 > 10).double()[None, None], (25, 25), mode="reflect"), weights[None, None]
    )[0, 0]
    wanted = near * (row + 0.5 * (row - blurred)).clamp(-1, 1) + (1 - near) * row
    torch.testing.assert_close(sharpened(edge)[0, 0, 60], wanted)
    assert wanted[60] > 0.5, "the edge is steeper than it was"


def test_blind_pairs_have_sharpened_targets_in_training_alone() -> None:
    clean = open_source("digits", 16)
    index = torch.arange(3)
    train, test = open_source("digits | blind:2", 16), open_source("digits | blind:2", 16, "test")
    assert torch.equal(train.batch(index).image, sharpened(clean.batch(index).image))
    assert torch.equal(test.batch(index).image, open_source("digits", 16, "test").batch(index).image)
    assert train.spec.source_shape == (1, 8, 8)


def test_blind_is_as_strong_as_the_published_program() -> None:
    """Of one picture of waves, whose octaves hold about as much each, as in photographs."""
    x = waves(128)
    clean = F.avg_pool2d(x, 4)
    worse = Blind(4)(x.expand(40, -1, -1, -1), ImageRng.counting(0, 40))
    found = -10 * ((worse - clean).square().mean((1, 2, 3)) / 4).log10()
    assert found.mean().item() == pytest.approx(PUBLIC, abs=0.95)  # four standard errors of 40 seeds


def waves(side: int) -> Tensor:
    at = torch.arange(side) / side
    y, x = at[:, None], at[None]
    made = torch.zeros(3, side, side)
    for k, (u, v, phase, channel) in enumerate(Stream(5).uniform(36, 4)):
        octave = 2.0 ** (k % 6)
        wave = torch.sin(2 * torch.pi * (octave * ((2 * u - 1) * x + (2 * v - 1) * y) + phase))
        made += wave * torch.stack([1 - channel / 2, torch.tensor(1.0), 0.5 + channel / 2])[:, None, None]
    return (made / 7).clamp(-1, 1)[None]


PUBLIC = 20.12  # dB: of the published program (basicsr 1.4.2), the mean of 200 seeds, whose standard error is 0.11
