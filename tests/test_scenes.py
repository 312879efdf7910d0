"""The scenes world: are the pictures what the labels say, and the same every time?"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from zeuxis.batch import to_float, to_uint8
from zeuxis.counter import uniforms
from zeuxis.data.source import Source
from zeuxis.data.worlds import grammar, sdf
from zeuxis.data.worlds.placement import FIRST_SHAPE_CLASS, LIGHT, PAINTS
from zeuxis.data.worlds.scenes import SINGLES, Scenes, UnpairedScenes, descriptions, draw, split_descriptions
from zeuxis.data.worlds.world import SPLITS
from zeuxis.errors import UnknownName, UsageError

MANY = torch.arange(600)
NAMES = [name for name, _ in grammar.FACTORS]


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return Scenes()


def column(factors: Tensor, name: str) -> Tensor:
    return factors[:, NAMES.index(name)]


# -- the same picture every time --------------------------------------------------------------------


def test_an_example_does_not_depend_on_its_company(scenes: Scenes) -> None:
    index = torch.tensor([5, 999_999, 0, 17, 5, 123_456, 31])
    together = scenes.batch(index)
    for k in range(len(index)):
        alone = scenes.batch(index[k : k + 1])
        assert torch.equal(alone.image[0], together.image[k])
        assert alone.condition.layout is not None and together.condition.layout is not None
        assert torch.equal(alone.condition.layout[0], together.condition.layout[k])
        assert alone.condition.caption == together.condition[k : k + 1].caption


def test_the_world_has_not_changed() -> None:
    """Shipped weights and published figures rest on these very pixels: change them only on purpose."""
    image = Scenes(split="test").batch(torch.arange(64)).image
    digest = hashlib.sha256(to_uint8(image).numpy().tobytes()).hexdigest()
    assert digest[:16] == "3d6b69f9fb6b80b0"


def test_pixels_survive_a_picture_file(scenes: Scenes) -> None:
    image = scenes.batch(torch.arange(64)).image
    assert image.dtype == torch.float32 and image.min() >= -1 and image.max() <= 1
    assert torch.equal(to_float(to_uint8(image)), image)


def test_every_size_shows_the_same_scene(scenes: Scenes) -> None:
    index = torch.arange(40)
    large = Scenes(size=128).batch(index)
    small = scenes.batch(index)
    assert large.condition.caption == small.condition.caption
    shrunk = torch.nn.functional.avg_pool2d(large.image, 4)
    error = (shrunk - small.image).abs()
    assert error.mean() < 0.01  # anti-aliased: a small picture is the mean of a large one
    assert error.max() < 0.6  # of a range of 2: only at sharp corners


def test_uniforms_are_uniform_and_unrelated() -> None:
    u = uniforms(7, torch.arange(20_000), 6)
    assert u.dtype == torch.float32 and u.min() >= 0 and u.max() < 1
    counts = torch.stack([torch.histc(u[:, k], 20, 0, 1) for k in range(6)])
    chi2 = ((counts - 1000) ** 2 / 1000).sum(1)  # 19 degrees of freedom: mean 19, 99.99th percentile 51
    assert chi2.max() < 51
    lagged = torch.cat([u[1:], u[:-1], uniforms(8, torch.arange(19_999), 6)], 1)  # next slots, neighbours, another key
    off_diagonal = torch.corrcoef(lagged.T) - torch.eye(18)
    assert off_diagonal.abs().max() < 0.04  # standard deviation 0.007


# -- the descriptions -------------------------------------------------------------------------------


def test_splits_share_no_description_and_no_complete_caption() -> None:
    parts = {name: {tuple(row) for row in split_descriptions(name).tolist()} for name in SPLITS}
    everything = {tuple(row) for row in descriptions().tolist()}
    assert sum(map(len, parts.values())) == len(everything) == 120 + 2 * 2 * 60 * 60
    assert set.union(*parts.values()) == everything
    for name, (low, high) in SPLITS.items():
        assert len(parts[name]) / len(everything) == pytest.approx((high - low) / 100, abs=0.01)
    test, val = set(Scenes(split="test").captions()), set(Scenes(split="val").captions())
    assert not test & val
    met = {c for c in captions_of(Scenes(), torch.arange(3000)) if "day" in c or "night" in c}
    assert not met & (test | val)
    assert set(captions_of(Scenes(split="test"), MANY)) <= test


def captions_of(source: Scenes, index: Tensor) -> tuple[str, ...]:
    captions = source.batch(index).condition.caption
    assert captions is not None
    return captions


def test_every_value_occurs_about_as_often_as_it_should(scenes: Scenes) -> None:
    factors = scenes.placed(torch.arange(4000)).factors
    single = column(factors, "relation") == 0
    assert single.float().mean() == pytest.approx(SINGLES, abs=0.02)
    for name, values in grammar.VALUES.items():
        chosen = column(factors, name)[~single] if values[0] == "none" else column(factors, name)
        counts = torch.bincount(chosen, minlength=len(values))[int(values[0] == "none") :].float()
        assert (counts / counts.mean() - 1).abs().max() < 0.2, name


def test_captions_tell_the_factors_and_the_label() -> None:
    for split in SPLITS:
        condition = Scenes(split=split).batch(MANY).condition
        assert condition.caption is not None and condition.factors is not None and condition.label is not None
        for caption, truth, label in zip(
            condition.caption, condition.factors.tolist(), condition.label.tolist(), strict=True
        ):
            told = grammar.factors(caption)
            assert all(t in (v, grammar.UNSPECIFIED) for t, v in zip(told, truth, strict=True)), caption
            assert split == "train" or tuple(truth) == told
            assert grammar.SHAPES[label] == grammar.parse(caption).first.shape
            assert set(caption.split()) <= set(grammar.WORDS)


def test_some_training_captions_leave_something_out(scenes: Scenes) -> None:
    captions = captions_of(scenes, torch.arange(2000))
    facts = [grammar.parse(c) for c in captions]
    pairs = [f for f in facts if f.second is not None]
    for told, share in (
        ([f.time is None for f in facts], 0.15),
        ([c.startswith(("by day", "at night")) for c in captions], 0.15),
        ([f.first.size is None for f in facts if f.second is None], 0.15),
        ([f.first.size is None and f.second.size is None for f in pairs], 0.15),  # type: ignore[union-attr]
        ([f.first.size is not None and f.second.size is None for f in pairs], 0.05),  # type: ignore[union-attr]
        ([f.first.size is None and f.second.size is not None for f in pairs], 0.05),  # type: ignore[union-attr]
    ):
        assert sum(told) / len(told) == pytest.approx(share, abs=0.2 * share + 0.025)


def test_held_out_captions_are_whole_and_are_told_as_in_training_on_request() -> None:
    world = Scenes(split="test")
    batch = world.batch(torch.arange(1000))
    assert batch.condition.caption is not None
    whole, told = list(map(grammar.parse, batch.condition.caption)), list(map(grammar.parse, world.told(batch)))
    assert all(f.time and f.first.size and (f.second is None or f.second.size) for f in whole)
    assert sum(f.time is None for f in told) / 1000 == pytest.approx(0.15, abs=0.05)
    for said, fact in zip(told, whole, strict=True):
        assert (said.relation, said.first.colour, said.first.shape) == (
            fact.relation,
            fact.first.colour,
            fact.first.shape,
        )
    train = Scenes()
    assert train.told(train.batch(torch.arange(50))) == train.batch(torch.arange(50)).condition.caption


# -- the grammar ------------------------------------------------------------------------------------


def test_parse_undoes_describe() -> None:
    for caption in Scenes(split="test").captions():
        assert grammar.sentence(grammar.parse(caption)) == caption
        facts = grammar.parse(caption)
        assert grammar.facts_from(grammar.factors_of(facts), facts.swapped) == facts


def test_two_wordings_of_one_scene_have_the_same_factors() -> None:
    above = grammar.factors("a small red circle above a large blue square at night")
    assert above == (1, 1, 0, 0, 0, 2, 5, 2)
    assert grammar.factors("a large blue square below a small red circle at night") == above
    left = grammar.factors("a small red circle left of a large blue square by day")
    assert left == (0, 2, 0, 0, 0, 2, 5, 2)
    assert grammar.factors("a large blue square right of a small red circle by day") == left


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("A Small RED circle, above a blue square, at NIGHT.", "a small red circle above a blue square at night"),
        ("small red circle above large blue square night", "a small red circle above a large blue square at night"),
        ("at night: the small red circle is to the left of the large ring-blue", None),
        ("a small red star to the left of the large blue ring", "a small red star left of a large blue ring"),
        ("orange star", "an orange star"),
        ("a red circle below a blue square", "a red circle below a blue square"),
        ("By day, a green ring", "a green ring by day"),
        ("blue circle", "a blue circle"),
        (
            "At night, a small red circle above a large blue square",
            "a small red circle above a large blue square at night",
        ),
        ("There is a red star to the left of the ring, which is blue", None),
        ("It's night. There is a small red star on the right of the large blue ring.",
         "a small red star right of a large blue ring at night"),
        ("a picture of the red circle", "a red circle"),
        ("Above the large blue square is a small red circle, by day",
         "a small red circle above a large blue square by day"),
        ("a red circle, at night, above a blue square", "a red circle above a blue square at night"),
    ],
)  # fmt: skip
def test_parse_forgives_the_harmless(told: str, meant: str | None) -> None:
    if meant is None:
        with pytest.raises(UsageError, match="is not an object"):
            grammar.parse(told)
    else:
        assert grammar.sentence(grammar.parse(told)) == meant


def test_what_is_left_open_is_said_to_be_open() -> None:
    facts = grammar.parse("a red circle above a large blue star")
    assert facts.time is None and facts.first.size is None
    assert grammar.factors_of(facts) == (grammar.UNSPECIFIED, 1, grammar.UNSPECIFIED, 0, 0, 2, 5, 4)


@pytest.mark.parametrize(
    ("caption", "said"),
    [
        ("a small redd circle by day", "did you mean red"),
        ("a small red hexagon", "known words: .*circle"),
        ("a small red circle above", "an object is missing"),
        ("", "an object is missing"),
        ("a circle red", "is not an object"),
        ("a small red", "is not an object"),
        ("a red circle above a blue ring below a green star", "one relation at most"),
        ("a red circle by day at night", "say the time once"),
        ("a red night circle", "belongs at the end"),
        ("", "nearest that is understood: 'a red circle'"),
        ("of of of", "an object is missing.*nearest that is understood"),
        ("a redd circle and a blue squar", "nearest that is understood: 'a red circle above a blue square'"),
        ("a small red circle above", "nearest that is understood: 'a small red circle above a blue square'"),
        ("a circle red at night", "nearest that is understood: 'a red circle at night'"),
    ],
)
def test_parse_says_what_is_wrong(caption: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        grammar.parse(caption)


def test_a_relation_wants_two_objects() -> None:
    with pytest.raises(UsageError, match="two objects"):
        grammar.Facts(grammar.Thing("red", "star"), relation="above")


# -- the pictures -----------------------------------------------------------------------------------


def test_objects_are_whole_apart_and_stand_as_the_relation_says() -> None:
    big = Scenes(size=96)
    index = torch.arange(400)
    fills = big.instances(index)  # (B, 2, H, W)
    relation = column(big.placed(index).factors, "relation")
    assert not (fills[:, 0] & fills[:, 1]).any()
    frame = torch.ones(96, 96, dtype=torch.bool)
    frame[1:-1, 1:-1] = False
    assert not fills[..., frame].any()
    areas = fills.flatten(2).sum(2)
    assert (areas[:, 0] > 0).all() and torch.equal(areas[:, 1] > 0, relation > 0)
    # Middles of the filled boxes, in shares of the side: right and down.
    middle = torch.stack([middles(fills.any(2)), middles(fills.any(3))], 2)  # (B, 2, 2)
    right, down = (middle[:, 1] - middle[:, 0]).unbind(1)
    assert (down[relation == 1] > 1.7 * right[relation == 1].abs()).all()
    assert (right[relation == 2] > 1.7 * down[relation == 2].abs()).all()


def middles(touched: Tensor) -> Tensor:
    """The middle of the touched cells along the last axis, in [0, 1]."""
    n = touched.shape[-1]
    first = touched.float().argmax(-1)
    last = n - 1 - touched.flip(-1).float().argmax(-1)
    return (first + last + 1) / (2 * n)


def test_small_and_large_never_meet() -> None:
    big = Scenes(size=96)
    index = torch.arange(400)
    fills, factors = big.instances(index)[:, 0], big.placed(index).factors
    across = fills.any(1).sum(1)  # columns touched
    small = column(factors, "size_1") == 0
    for k, name in enumerate(grammar.SHAPES):  # shapes of one radius differ in width, so each against itself
        mine = column(factors, "shape_1") == k
        assert across[mine & ~small].min() > 1.4 * across[mine & small].max(), name


def test_colour_layout_and_time_agree_with_the_picture(scenes: Scenes) -> None:
    batch = scenes.batch(MANY)
    condition = batch.condition
    assert condition.layout is not None and condition.factors is not None
    time = column(condition.factors, "time")
    pixels = (batch.image + 1) * 127.5
    for k, (colour, shape) in enumerate([("colour_1", "shape_1"), ("colour_2", "shape_2")]):
        offset = k  # factors of object 2 count "none" as 0
        here = column(condition.factors, shape) - offset >= 0
        fills = scenes.instances(MANY)[:, k].float()[:, None]
        solid = -torch.nn.functional.max_pool2d(-fills, 3, 1, 1)  # without the anti-aliased rim
        solid = torch.where(solid.flatten(1).sum(1)[:, None, None, None] > 0, solid, fills)
        mean = (pixels * solid).sum((2, 3)) / solid.sum((2, 3)).clamp(min=1)  # (B, 3)
        palette = PAINTS[None] * LIGHT[time][:, None, None]  # (B, 6, 3)
        nearest = (palette - mean[:, None]).square().sum(2).argmin(1)
        right = nearest[here] == (column(condition.factors, colour) - offset)[here]
        assert right.float().mean() > 0.99  # the thinnest rings have no pixel that is all paint
        classes = condition.layout[fills[:, 0].bool()]
        expected = (column(condition.factors, shape) - offset + FIRST_SHAPE_CLASS)[:, None, None].expand(-1, 32, 32)
        assert torch.equal(classes, expected[fills[:, 0].bool()])
    ground = condition.layout == 1
    assert not ground[:, :20].any() and (ground | (condition.layout >= 2))[:, 28:].all()
    sky = (condition.layout == 0)[:, None]
    light = (pixels * sky).sum((1, 2, 3)) / (3 * sky.sum((1, 2, 3)))
    assert light[time == 0].min() > 180 and light[time == 1].max() < 70


@pytest.mark.parametrize("name", grammar.SHAPES)
def test_distances_are_distances(name: str) -> None:
    """Areas in closed form; unit slope at the edge; within the radius's box at every turn."""
    radius, side = 60.0, 128
    offsets = (torch.arange(side) + 0.5 - side / 2)[None]
    turns = torch.tensor([0.0, -sdf.MAX_TURN, 3.0, sdf.MAX_TURN]).deg2rad()
    rows = offsets.expand(4, side)
    grid = sdf.Grid(rows, rows, torch.full((4,), radius), turns.cos(), turns.sin())
    distance = sdf.SHAPES[name](grid)
    area = (0.5 - distance).clamp(0, 1).sum((1, 2))
    assert torch.allclose(area, torch.full((4,), AREAS[name] * radius**2), rtol=5e-3)
    inside = distance < 0
    assert not inside[:, (offsets[0].abs() > radius + 0.5)].any()
    assert not inside[:, :, (offsets[0].abs() > radius + 0.5)].any()
    slope = torch.stack(torch.gradient(distance, dim=(1, 2))).norm(dim=0)
    near = (distance.abs() < 1)[:, 1:-1, 1:-1]
    assert slope[:, 1:-1, 1:-1][near].median() == pytest.approx(1, abs=1e-3)


_T = math.radians(sdf.MAX_TURN)
AREAS = {
    "circle": math.pi,
    "ring": math.pi * (1 - 0.25),
    "square": (2 / (math.cos(_T) + math.sin(_T))) ** 2,
    "triangle": 0.75 * math.sqrt(3) * 1.03**2,
    "star": 5 * 1.02 * 0.47 * math.sin(math.radians(36)),  # ten triangles: centre, tip, notch
}


def test_turning_is_clockwise_on_the_picture() -> None:
    """Pixels turn with the shape: the upper tip of a turned star lies where the turn takes it."""
    side, radius, turn = 128, 50.0, math.radians(8)
    offsets = (torch.arange(side) + 0.5 - side / 2)[None]
    grid = sdf.Grid(
        offsets, offsets, torch.tensor([radius]), torch.tensor([math.cos(turn)]), torch.tensor([math.sin(turn)])
    )
    top_row = int((sdf.star(grid)[0] < 0).any(1).float().argmax())
    tip = offsets[0][(sdf.star(grid)[0, top_row] < 0)].mean()
    height = 1.02 * (1 - (1 - math.sin(math.radians(54))) / 2) * radius
    assert float(tip) == pytest.approx(math.sin(turn) * height, abs=1.5)


# -- the sources ------------------------------------------------------------------------------------


def test_sources_keep_the_protocol(scenes: Scenes) -> None:
    sources: list[Source] = [scenes, UnpairedScenes(), Scenes(time="night")]
    for source in sources:
        batch = source.batch(torch.arange(3))
        assert batch.condition.given == source.spec.provides
        assert batch.image.shape == (3, *source.spec.shape)
        assert len(source.spec.class_names) == source.spec.classes
        assert batch.condition.factors is not None
        assert batch.condition.factors.shape == (3, len(source.spec.factors))
    assert [s.name for s in sources] == ["scenes", "scenes-day-night", "scenes-night"]
    assert len(scenes.batch(torch.arange(0))) == 0


def test_fingerprints_tell_sources_apart() -> None:
    sources: list[Source] = [Scenes(), Scenes(size=16), Scenes(split="test"), Scenes(length=50), Scenes(time="day")]
    sources.append(UnpairedScenes())
    prints = [s.fingerprint() for s in sources]
    assert len(set(prints)) == len(sources)
    assert prints[0] == Scenes().fingerprint() and Scenes(length=1).fingerprint() == Scenes(length=1).fingerprint()


def test_unpaired_scenes_are_night_beside_unrelated_day() -> None:
    batch = UnpairedScenes().batch(MANY)
    source, factors = batch.condition.source, batch.condition.factors
    assert source is not None and factors is not None
    assert (batch.image.mean((1, 2, 3)) < -0.2).all() and (source.mean((1, 2, 3)) > 0.2).all()
    assert (column(factors, "time") == 1).all()
    night = Scenes(time="night").placed(MANY).factors
    same = (night[:, 1:] == factors[:, 1:]).float().mean(0)
    assert same.max() < 0.6  # chance: at most a half (sizes, relations)


def test_one_time_of_day_on_request() -> None:
    for time, value in (("day", 0), ("night", 1)):
        assert (column(Scenes(time=time).placed(MANY).factors, "time") == value).all()


def test_draw_draws_what_it_is_told() -> None:
    caption = "a large blue square below a small red circle at night"
    batch = draw(caption, n=5, seed=3)
    condition = batch.condition
    assert condition.caption == (caption,) * 5 and condition.label is not None and condition.factors is not None
    assert [tuple(row) for row in condition.factors.tolist()] == [grammar.factors(caption)] * 5
    assert (condition.label == grammar.SHAPES.index("square")).all()
    assert not torch.equal(batch.image[0], batch.image[1])
    assert torch.equal(draw(caption, n=1, seed=5).image[0], batch.image[2])  # picture k is that of seed + k
    assert draw(caption, size=48).image.shape == (1, 3, 48, 48)


def test_draw_fills_in_what_is_left_open() -> None:
    condition = draw("a red circle above a blue star", n=64).condition
    assert condition.factors is not None and condition.caption is not None
    for name in ("time", "size_1", "size_2"):
        lowest = int(grammar.VALUES[name][0] == "none")
        assert set(column(condition.factors, name).tolist()) == {lowest, lowest + 1}
    assert all(grammar.parse(c).time and grammar.parse(c).first.size for c in condition.caption)
    small = grammar.parse("a small red circle above a blue star")
    assert small == replace(grammar.parse("a red circle above a blue star"), first=small.first)


def test_wrong_requests_say_so(scenes: Scenes) -> None:
    with pytest.raises(UnknownName, match="did you mean train"):
        Scenes(split="trian")
    with pytest.raises(UnknownName, match="did you mean night"):
        Scenes(time="nigth")
    with pytest.raises(UsageError, match="at least 8"):
        Scenes(size=4)
    with pytest.raises(IndexError, match="1000000"):
        scenes.batch(torch.tensor([0, 1_000_000]))
    with pytest.raises(UsageError, match="did you mean"):
        draw("a smal red circle")
