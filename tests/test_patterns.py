"""Procedures: noise, turtles, dice, plants, land, quilts. Are they what their definitions say?"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import pytest
import torch
from torch import Tensor

import zeuxis as zx
from zeuxis.api.evaluate import default_metrics, evaluate
from zeuxis.batch import Condition
from zeuxis.catalog.build import build
from zeuxis.data.library import open_source
from zeuxis.data.worlds.nature import Plants, Terrain
from zeuxis.errors import UnknownName, UsageError
from zeuxis.patterns.dice import DICE, FACES, HANDS, chances, chi_square, kind
from zeuxis.patterns.perlin import fade, fractal, noise, spectral_slope
from zeuxis.patterns.quilting import boundary_error, cut, quilt
from zeuxis.patterns.terrain import HEIGHTS, heights
from zeuxis.patterns.turtle import drawn, fitted, heading_moments, headings, path
from zeuxis.rng import ImageRng, Stream
from zeuxis.spec import DataSpec, Shape

SEEDS = torch.arange(3)


def test_perlin_noise_is_zero_on_the_lattice_bounded_and_smooth() -> None:
    whole = torch.arange(-3.0, 5.0)
    for n in (2, 3):
        assert noise(SEEDS, [whole] * n).abs().max() < 1e-6
        fine = noise(SEEDS, [torch.arange(0, 3, 0.05)] * n)
        assert 0.4 < fine.abs().max() <= 1
        steps = (fine[:, 1:] - fine[:, :-1]).abs().max()
        assert steps < 0.3, "no jump, not even from cell to cell"
    assert torch.equal(fade(torch.tensor([0.0, 0.5, 1.0])), torch.tensor([0.0, 0.5, 1.0]))


def test_perlin_noise_by_hand() -> None:
    """One point of one cell, from the definition."""
    seed, at = torch.tensor([7]), (1.25, 2.6)
    lattice = {}
    eps = 1e-3  # near a lattice point the noise is the dot product with its vector, all but alone
    for y, x in itertools.product((1, 2), (2, 3)):
        gy = noise(seed, [torch.tensor([y + eps]), torch.tensor([float(x)])]) / eps
        gx = noise(seed, [torch.tensor([float(y)]), torch.tensor([x + eps])]) / eps
        lattice[y, x] = (float(gy), float(gx))
    expected = 0.0
    for (y, x), (gy, gx) in lattice.items():
        dy, dx = at[0] - y, at[1] - x
        weight = (1 - fade(torch.tensor(abs(dy)))) * (1 - fade(torch.tensor(abs(dx))))
        expected += float(weight) * (gy * dy + gx * dx)
    found = float(noise(seed, [torch.tensor([at[0]]), torch.tensor([at[1]])]))
    assert found == pytest.approx(expected, abs=2e-3)
    for g in lattice.values():  # the gradients are unit vectors, scaled to fill [-1, 1]
        assert math.hypot(*g) == pytest.approx(math.sqrt(2), abs=5e-3)


def test_perlin_noise_does_not_depend_on_the_grid_or_the_company() -> None:
    axis = torch.arange(0, 4, 0.25)
    whole = fractal(SEEDS, [axis, axis], 3)
    assert torch.equal(fractal(SEEDS[1:2], [axis, axis], 3), whole[1:2])
    torch.testing.assert_close(fractal(SEEDS, [axis[5:9], axis[2:]], 3), whole[:, 5:9, 2:], atol=1e-6, rtol=0)
    assert not torch.allclose(whole[0], whole[1])


def test_tiles_meet() -> None:
    axis = torch.arange(0, 8, 0.25)  # two periods
    tiled = fractal(SEEDS, [axis, axis], 3, period=4)
    torch.testing.assert_close(tiled[:, :16], tiled[:, 16:], atol=1e-5, rtol=0)
    torch.testing.assert_close(tiled[..., :16], tiled[..., 16:], atol=1e-5, rtol=0)
    loose = fractal(SEEDS, [axis, axis], 3)
    assert not torch.allclose(loose[:, :16], loose[:, 16:], atol=1e-2)
    flat = build("perlin", DataSpec(Shape(1, 32, 32)), {"tile": True}).clouds(SEEDS, 32, 32)
    inner, seam = (flat[:, :, 1:] - flat[:, :, :-1]).abs().mean(), (flat[:, :, 0] - flat[:, :, -1]).abs().mean()
    assert seam < 1.5 * inner


def test_octaves_finer_than_the_pixels_cost_no_more_than_others() -> None:
    """Of a lattice with 2^21 points a side only those of the cells that hold a pixel are made."""
    made = build("perlin", DataSpec(Shape(1, 16, 16)), {"octaves": 20}).clouds(SEEDS, 16, 16)
    assert made.shape == (3, 16, 16) and made.isfinite().all() and made.std() > 0.1


@pytest.mark.parametrize("tile", [False, True])
def test_noise_is_not_stretched_on_a_picture_that_is_not_square(tile: bool) -> None:
    wide = build("perlin", DataSpec(Shape(1, 32, 80)), {"octaves": 1, "tile": tile}).clouds(SEEDS, 32, 80)
    square = build("perlin", DataSpec(Shape(1, 32, 32)), {"octaves": 1}).clouds(SEEDS, 32, 32)
    torch.testing.assert_close(wide[:, :20, :24], square[:, :20, :24])  # away from where a tile meets itself
    if tile:
        inner, seam = (wide[:, :, 1:] - wide[:, :, :-1]).abs().mean(), (wide[:, :, 0] - wide[:, :, -1]).abs().mean()
        assert seam < 1.5 * inner


@pytest.mark.parametrize("gain", [0.4, 0.5, 0.7])
def test_the_spectrum_falls_as_stated(gain: float) -> None:
    system = build("perlin", DataSpec(Shape(1, 64, 64)), {"gain": gain})
    assert system.proofs()["spectrum-slope-error"].measure(16, Stream(0)) < 0.2
    assert spectral_slope(0.5) == -4


def test_headings_have_the_moments_of_a_sum_of_coins() -> None:
    u = Stream(0).uniform(40_000, 30)
    last = headings(u, 0.3, 0.7)[:, -1]
    mean, variance = heading_moments(30, 0.3, 0.7)
    assert last.mean().item() == pytest.approx(mean, abs=4 * math.sqrt(variance / 40_000))
    assert last.var().item() == pytest.approx(variance, rel=0.04)
    proof = build("turtle", DataSpec(Shape(1, 16, 16)), {"steps": 30, "right": 0.7}).proofs()["heading-deviation"]
    assert proof.measure(20_000, Stream(1)) < 4


def test_a_path_is_of_unit_steps_and_its_drawing_fits_the_page() -> None:
    points = path(torch.tensor([[0.0, math.pi / 2, math.pi / 2]]))
    torch.testing.assert_close(points[0], torch.tensor([[0.0, 0], [0, -1], [1, -1], [2, -1]]), atol=1e-6, rtol=0)
    page = fitted(points)
    assert page.min() >= 0.08 - 1e-6 and page.max() <= 0.92 + 1e-6
    wide = fitted(points, size=(40, 100)) * torch.tensor([100.0, 40.0])  # pixels, x and y
    steps = (wide[:, 1:] - wide[:, :-1]).norm(dim=2)
    torch.testing.assert_close(steps, torch.full((1, 3), 40 * 0.84))  # one of them fills the height
    cover = drawn(page, (50, 50), 3.0)
    length = 3 * (1 - 0.16) / 2 * 50  # three steps, two of which span the page
    assert cover.sum().item() == pytest.approx(length * 3, rel=0.1)


def test_the_kinds_of_throws_are_counted_exactly() -> None:
    def by_hand(throw: tuple[int, ...]) -> str:
        counts = sorted(Counter(throw).values(), reverse=True)
        names = {(5,): "five", (4, 1): "four", (3, 2): "full house", (3, 1, 1): "three", (2, 2, 1): "two pairs"}
        if tuple(counts) in names:
            return names[tuple(counts)]
        if counts[0] == 2:
            return "pair"
        return "straight" if max(throw) - min(throw) == 4 else "nothing"

    throws = list(itertools.product(range(FACES), repeat=DICE))
    found = kind(torch.tensor(throws))
    assert [HANDS[k] for k in found.tolist()] == [by_hand(t) for t in throws]
    assert sum(chances()) == 1
    assert dict(zip(HANDS, chances(), strict=True)) == {
        "nothing": Fraction(480, 7776),
        "pair": Fraction(3600, 7776),
        "two pairs": Fraction(1800, 7776),
        "three": Fraction(1200, 7776),
        "straight": Fraction(240, 7776),
        "full house": Fraction(300, 7776),
        "four": Fraction(150, 7776),
        "five": Fraction(6, 7776),
    }


def test_the_chi_square_test_believes_fair_dice_and_no_others() -> None:
    stats = pytest.importorskip("scipy.stats")
    fair = torch.bincount(kind(Stream(0).integers(FACES, 50_000, DICE)), minlength=len(HANDS))
    expected = [50_000 * float(p) for p in chances()]
    assert chi_square(fair) == pytest.approx(stats.chisquare(fair.numpy(), expected).pvalue, rel=1e-6)
    assert chi_square(fair) > 0.001
    loaded = (Stream(0).uniform(50_000, DICE) ** 1.3 * FACES).long()
    assert chi_square(torch.bincount(kind(loaded), minlength=len(HANDS))) < 0.001


def test_plants_show_what_was_thrown() -> None:
    def share(dice: list[int], colour: tuple[float, float, float]) -> float:
        from zeuxis.patterns.plants import grow

        throws = torch.tensor(dice).expand(1, 3, 5)
        pixels = (grow(throws, 96) + 1) / 2
        near = (pixels - torch.tensor(colour)[None, :, None, None]).abs().amax(1) < 0.08
        return float(near.float().mean())

    leaf = (0.25, 0.58, 0.28)
    nothing, pair, pairs = share([0, 1, 2, 3, 5], leaf), share([0, 0, 2, 3, 5], leaf), share([0, 0, 2, 2, 5], leaf)
    assert nothing < 0.2 * pair and pairs > 1.5 * pair
    red = (0.90, 0.25, 0.30)
    assert share([0, 0, 0, 0, 0], red) > 2 * share([0, 0, 0, 3, 4], red)  # five of a kind flower at every node


def test_the_worlds_are_the_same_every_time_and_label_what_they_show() -> None:
    index = torch.tensor([5, 999_999, 0])
    for world in (Plants(48), Terrain(48)):
        batch, alone = world.batch(index), world.batch(index[1:2])
        assert torch.equal(batch.image[1:2], alone.image)
        assert batch.image.shape == (3, 3, 48, 48) and batch.image.abs().max() <= 1
        assert batch.condition.given == world.spec.provides
        assert type(world)(48).fingerprint() == world.fingerprint() != type(world)(48, "test").fingerprint()
        with pytest.raises(IndexError):
            world.batch(torch.tensor([-1]))
        with pytest.raises(UnknownName):
            type(world)(48, "tset")
    plants = Plants(32).batch(torch.arange(400))
    kinds, label = plants.condition.factors, plants.condition.label
    assert kinds is not None and label is not None
    rarity = torch.tensor([float(p) for p in chances()])
    assert torch.equal(rarity[label], rarity[kinds].amin(1))
    land = Terrain(32).batch(torch.arange(64)).condition.layout
    assert land is not None and set(land.unique().tolist()) == set(range(len(HEIGHTS) + 1))
    assert torch.equal(heights(torch.tensor([3, 4]), 16)[:1], heights(torch.tensor([3]), 16))


def test_a_cut_takes_the_cheapest_way() -> None:
    error = torch.tensor([[9.0, 1, 9], [9, 9, 1], [9, 1, 9], [1, 9, 9]])
    keep = cut(error)
    assert keep.sum(1).tolist() == [1, 2, 1, 0]
    best = min(
        sum(float(error[i, j]) for i, j in enumerate(way))
        for way in itertools.product(range(3), repeat=4)
        if all(abs(a - b) <= 1 for a, b in itertools.pairwise(way))
    )
    assert sum(float(error[i, int(k)]) for i, k in enumerate(keep.sum(1))) == best


def test_quilts_are_sewn_from_the_example_and_beat_random_tiling() -> None:
    example = open_source("terrain", 48).batch(torch.arange(1)).image[0]

    def one(sewn: bool, seed: int = 0) -> Tensor:
        return quilt(example, (70, 61), 16, 4, Stream(seed), sewn=sewn)

    assert one(True).shape == (3, 70, 61)
    colours = {tuple(c) for c in example.flatten(1).T.tolist()}
    assert {tuple(c) for c in one(True).flatten(1).T.tolist()} <= colours, "a pixel that the example lacks"
    assert not torch.equal(one(True, 0), one(True, 1))
    for seed in range(3):
        assert boundary_error(one(True, seed), 16, 4) < boundary_error(one(False, seed), 16, 4)


def test_generators_need_no_training() -> None:
    model = zx.load("perlin")
    assert default_metrics(model) == ("lattice-value", "spectrum-slope-error")
    again = zx.load("perlin")
    assert torch.equal(model.sample(2, seed=3).tensor, again.sample(2, seed=3).tensor)
    assert model.weights_sha256 == again.weights_sha256 != zx.load("turtle").weights_sha256
    figures = evaluate(model, metrics=("lattice-value",), samples=4)
    assert [(f.name, f.samples) for f in figures] == [("lattice-value", 4)] and figures[0].value < 1e-6
    with pytest.raises(UnknownName, match="did you mean lattice-value"):
        evaluate(model, metrics=("latice-value",), samples=4)
    quilting = build("quilting", DataSpec(Shape(3, 32, 32)), {})
    with pytest.raises(UsageError, match="patches"):
        build("quilting", DataSpec(Shape(3, 32, 32)), {"patch": 2.0})
    assert quilting.card.needs == {"source"}


@pytest.mark.parametrize(("name", "settings"), [("perlin", {"octaves": 6}), ("turtle", {})])
def test_generators_draw_pictures_of_any_size(name: str, settings: dict[str, int]) -> None:
    model = zx.load(name).at((20, 36))
    found = model.sample(2, seed=3).tensor
    made = build(name, DataSpec(Shape(found.shape[1], 20, 36)), settings)
    assert found.shape[2:] == (20, 36)
    assert torch.equal(found, made.sample(Condition(), ImageRng.counting(3, 2)))


def test_a_quilt_of_another_size_has_patches_to_it() -> None:
    small = build("quilting", DataSpec(Shape(3, 32, 32)), {})
    assert small.sides() == (10, 2)  # type: ignore[operator]
    small.shape = Shape(3, 64, 96)
    assert small.sides() == (19, 3)  # type: ignore[operator]
    small.shape = Shape(3, 4, 4)
    with pytest.raises(UsageError, match="take larger pictures"):
        small.sides()  # type: ignore[operator]
