"""The rich scenes: every label against the pixels, every caption and instruction against the facts."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from zeuxis.batch import Batch, to_float, to_uint8
from zeuxis.data.library import WORLDS, open_source
from zeuxis.data.worlds.rich import facts, instruct, light, paint, styles, wording
from zeuxis.data.worlds.rich.arrange import EDGE
from zeuxis.data.worlds.rich.facts import CORNERS, EACH, HELD_OUT, SCENE, SHAPES, corners
from zeuxis.data.worlds.rich.sources import RichScenes, SceneEdits
from zeuxis.data.worlds.rich.views import SceneLight, SceneStyles
from zeuxis.data.worlds.world import in_split
from zeuxis.errors import UnknownName

MANY = torch.arange(400)
NEW = [name for name in WORLDS if name.startswith("scenes-") and name != "scenes-day-night"]


@pytest.fixture(scope="module")
def rich() -> RichScenes:
    return RichScenes(64)


@pytest.fixture(scope="module")
def rows(rich: RichScenes) -> list[list[int]]:
    return rich.rows(MANY).tolist()


def pairs(factors: Tensor) -> Tensor:
    """(N, 2): shape and colour of every object."""
    own = corners(factors).flatten(0, 1)
    main, second = own[own[:, 0] > 0][:, [0, 1]], own[own[:, 4] > 0][:, [5, 6]]
    return torch.cat([main, second]) - 1


def is_held_out(pair: Tensor) -> Tensor:
    return torch.tensor(HELD_OUT)[pair[:, 0]] == pair[:, 1]


# -- the same picture every time --------------------------------------------------------------------


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("size", [33, 64])
def test_an_example_does_not_depend_on_its_company(name: str, size: int) -> None:
    source = open_source(name, size, "val")
    index = torch.tensor([5, 999_999, 0, 17, 5, 123_456])
    together = source.batch(index)
    assert set(together.condition.given) == set(source.spec.provides)
    for part in (slice(1), slice(1, 3), slice(3, 6)):  # alone, and in two other companies
        assert_same(source.batch(index[part]), together[part])


def assert_same(one: Batch, other: Batch) -> None:
    assert torch.equal(one.image, other.image)
    for name in one.condition.given:
        a, b = getattr(one.condition, name), getattr(other.condition, name)
        assert torch.equal(a, b) if isinstance(a, Tensor) else a == b, name


@pytest.mark.parametrize("name", [n for n in NEW if "light" not in n])  # light has no levels
def test_pixels_survive_a_picture_file(name: str) -> None:
    image = open_source(name, 32).batch(torch.arange(12)).image
    assert torch.equal(to_float(to_uint8(image)), image)


def test_the_splits_share_no_scene_and_only_unseen_ones_have_held_out_pairs(rich: RichScenes) -> None:
    found = {split: set(map(tuple, RichScenes(32, split).rows(MANY).tolist())) for split in ("train", "val", "test")}
    assert all(len(rows) > 390 for rows in found.values())
    assert not found["train"] & found["val"] and not found["val"] & found["test"] and not found["train"] & found["test"]
    assert not is_held_out(pairs(rich.rows(MANY))).any()
    unseen = RichScenes(32, "train", pairs="unseen").rows(MANY)
    assert all(is_held_out(pairs(row[None])).any() for row in unseen)
    assert in_split(unseen, facts.COUNTS, "test").all()
    every = RichScenes(32, "train", pairs="all").rows(MANY)
    assert 0.05 < is_held_out(pairs(every)).float().mean() < 0.3
    assert in_split(every, facts.COUNTS, "train").all()


def test_where_any_pair_may_occur_all_are_as_likely() -> None:
    rows = corners(RichScenes(32, "test", pairs="all").rows(torch.arange(6000)))
    main = rows[rows[..., 0] > 0]
    pair = (main[:, 0] - 1) * len(facts.COLOURS) + main[:, 1] - 1
    counts = pair.bincount(minlength=len(SHAPES) * len(facts.COLOURS)).float()
    assert (counts / counts.mean() - 1).abs().max() < 0.25
    inner = rows[rows[..., 4] > 0]
    assert (inner[:, 1] != inner[:, 6]).all()  # a second object has another colour than the main one
    assert len(((inner[:, 5] - 1) * len(facts.COLOURS) + inner[:, 6] - 1).unique()) == len(SHAPES) * len(facts.COLOURS)


def test_every_value_of_every_factor_occurs(rich: RichScenes) -> None:
    found = rich.rows(torch.arange(4000))
    for k, (name, size) in enumerate(facts.FACTORS):
        assert found[:, k].unique().tolist() == list(range(size)), name
    objects = (corners(found)[..., 0] > 0).sum(1) + (corners(found)[..., 4] > 0).sum(1)
    assert objects.unique().tolist() == [1, 2, 3, 4, 5]


# -- labels against pixels --------------------------------------------------------------------------


def test_every_object_is_seen_in_its_corner_and_in_its_paint(rich: RichScenes) -> None:
    index = torch.arange(200)
    scene = rich.arranged(index)
    made = paint.layers(scene, 64)
    whose = paint.instances(scene, made)
    for b, row in enumerate(scene.factors.tolist()):
        for thing in wording.things(row):
            mask = whose[b] == thing.number
            assert mask.sum() > 12, (thing, "is hidden")
            ys, xs = mask.nonzero().unbind(1)
            assert (ys // 32 * 2 + xs // 32 == thing.corner).all()
            if thing.texture == "plain":
                shown = made.paint[b, int(thing.place is not None)][:, mask]
                wanted = scene.paint[b, thing.corner, int(thing.place is not None)]
                assert torch.allclose(shown, wanted[:, None].expand_as(shown), atol=1e-3)
        assert set(whose[b].unique().tolist()) - {0} == {thing.number for thing in wording.things(row)}


def test_objects_stay_within_their_corners(rich: RichScenes) -> None:
    scene = rich.arranged(torch.arange(2000))
    there = scene.shape >= 0
    low, high = scene.centre - scene.radius[..., None], scene.centre + scene.radius[..., None]
    first = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.5, 0.5]])[None, :, None]
    assert (low - first)[there].min() >= EDGE - 1e-6
    assert (high - first)[there].max() <= 0.5 - EDGE + 1e-6


def test_what_is_in_front_hides_and_is_nearer(rich: RichScenes) -> None:
    index = torch.arange(200)
    scene = rich.arranged(index)
    whose, far = rich.instances(index), rich.depth(index)[:, 0]
    assert far.min() >= 0 and far.max() <= 1
    checked = 0
    for b, row in enumerate(scene.factors.tolist()):
        for a, relation, other in wording.graph(row):
            if relation in facts.PLACES:
                checked += 1
                assert far[b][whose[b] == a].max() < far[b][whose[b] == other].min() < far[b][whose[b] == 0].min()
                near = scene.centre[b, (a - 1) % 4]
                apart = (near[1] - near[0]).abs().max()
                assert (apart < 1e-6) == (relation == "inside")
    assert checked > 20


def test_layout_and_edges_follow_from_the_instances(rich: RichScenes) -> None:
    index = torch.arange(40)
    whose, edge = rich.instances(index), rich.edges(index)[:, 0]
    condition = rich.batch(index).condition
    assert condition.layout is not None and condition.factors is not None
    assert torch.equal(condition.layout >= 2, whose > 0)
    for b in range(len(index)):
        for thing in wording.things(condition.factors[b].tolist()):
            assert (condition.layout[b][whose[b] == thing.number] == 2 + SHAPES.index(thing.shape)).all()
        y, x = divmod(int(torch.randint(63 * 63, (1,), generator=torch.Generator().manual_seed(b))), 63)
        differs = whose[b, y, x] != whose[b, y, x + 1] or whose[b, y, x] != whose[b, y + 1, x]
        assert bool(edge[b, y, x]) == bool(differs)


def test_a_scene_is_the_same_at_every_size() -> None:
    index = torch.arange(60)
    small, large = RichScenes(32), RichScenes(128)
    shares = []
    for world in (small, large):
        whose = world.instances(index)
        shares.append(torch.stack([(whose == k).float().mean((1, 2)) for k in range(9)]))
    assert (shares[0] - shares[1]).abs().max() < 0.012


def test_seasons_weathers_and_times_change_the_background_only(rich: RichScenes) -> None:
    index = torch.arange(30)
    rows = rich.rows(index)
    scene = rich.arranged(index)
    for k, count in enumerate(facts.COUNTS[:SCENE]):
        other = rows.clone()
        other[:, k] = (rows[:, k] + 1) % count
        changed = rich.arranged(index, other)
        assert torch.equal(
            paint.instances(scene, paint.layers(scene, 64)), paint.instances(changed, paint.layers(changed, 64))
        )
        a, b = paint.picture(scene, paint.layers(scene, 64)), paint.picture(changed, paint.layers(changed, 64))
        assert ((a - b).abs().amax(1) > 0.02).float().mean((1, 2)).min() > 0.001


# -- words ------------------------------------------------------------------------------------------

_PLAIN = {stated: plain for plain, choice in wording.SYNONYMS.items() for stated in choice}
_NAME = re.compile(
    r"an? (?P<size>small|large) (?:(?P<texture>striped|dotted|shiny) )?(?P<colour>\w+) (?P<shape>\w+)"
    r"(?: with an? (?P<tint>\w+) (?P<inner>\w+) (?P<place>inside|in front))?"
    r"(?: at the (?P<corner>(?:upper|lower) (?:left|right)))?"
)


def read(caption: str) -> tuple[set[tuple[tuple[str, str], ...]], set[str]]:
    """An independent reading of a caption: its objects with their corners, and its setting."""
    text = " ".join(_PLAIN.get(word, word) for word in re.findall(r"\w+|,", caption))
    found = [m.groupdict() for m in _NAME.finditer(text)]
    if found[0]["corner"] is None:
        relation = re.search(r"(left of|right of|above|below) an? ", text)
        edge = re.search(r", (?:at|on) the (top|bottom|left|right)", text)
        assert relation and edge
        first, second = {
            "left of": ("{} left", "{} right"),
            "right of": ("{} right", "{} left"),
            "above": ("upper {}", "lower {}"),
            "below": ("lower {}", "upper {}"),
        }[relation[1]]
        side = {"top": "upper", "bottom": "lower"}.get(edge[1], edge[1])
        found[0]["corner"], found[1]["corner"] = first.format(side), second.format(side)
    objects = {tuple(sorted((k, v) for k, v in each.items() if v)) for each in found}
    return objects, set(re.findall(r"\w+", text)) & {*facts.TIMES, *facts.SEASONS, *facts.WEATHERS}


def test_a_caption_tells_everything(rows: list[list[int]]) -> None:
    u = torch.rand(len(rows), wording.DRAWS, generator=torch.Generator().manual_seed(0)).tolist()
    for row, v in zip(rows, u, strict=True):
        caption = wording.caption(row, v)
        wanted = set()
        things = wording.things(row)
        seconds = {thing.corner: thing for thing in things if thing.place}
        for thing in things:
            if thing.place is None:
                stated = {
                    "size": thing.size,
                    "colour": thing.colour,
                    "shape": thing.shape,
                    "corner": CORNERS[thing.corner],
                }
                if thing.texture != "plain":
                    stated["texture"] = thing.texture
                if inner := seconds.get(thing.corner):
                    stated |= {
                        "tint": inner.colour,
                        "inner": inner.shape,
                        "place": (inner.place or "").removesuffix(" of"),
                    }
                wanted.add(tuple(sorted(stated.items())))
        objects, setting = read(caption)
        assert objects == wanted, caption
        assert setting == {facts.TIMES[row[0]], facts.SEASONS[row[1]], facts.WEATHERS[row[2]]}, caption


def test_phrasings_vary_and_use_known_words_only(rich: RichScenes) -> None:
    captions = rich.batch(torch.arange(300)).condition.caption
    stated = SceneEdits(32).instructions(torch.arange(300))[2]
    assert captions is not None
    known = set(rich.spec.words)
    assert {word for text in (*captions, *stated) for word in re.findall(r"\w+", text)} <= known
    for word in ("there", "disc", "circle", "on", "by", "of", "above", "hoop", "fall"):
        assert any(re.search(rf"\b{word}\b", caption) for caption in captions), word


def test_the_scene_graph_is_true_of_the_places(rich: RichScenes) -> None:
    index = torch.arange(100)
    scene = rich.arranged(index)
    axis = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}
    compared = 0
    for b, edges in enumerate(rich.graphs(index)):
        for a, relation, other in edges:
            if relation in axis:
                k, sign = axis[relation]
                one, two = (scene.centre[b, n - 1, 0, k] for n in (a, other))
                assert (one - two) * sign > 0
                compared += 1
    assert compared > 50


# -- instructions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", instruct.EDIT_KINDS)
def test_an_instruction_changes_what_it_names_and_nothing_else(kind: str) -> None:
    world = SceneEdits(64, kinds=(kind,))
    index = torch.arange(60)
    before, after, stated = world.instructions(index)
    batch = world.batch(index)
    assert batch.condition.source is not None
    differs = (batch.image != batch.condition.source).any(1)  # (B, H, W)
    own = [world.before.arranged(index, rows) for rows in (before, after)]
    old, new = (paint.instances(scene, paint.layers(scene, 64)) for scene in own)
    done = 0
    for b in range(len(index)):
        changed = (before[b] != after[b]).nonzero()[:, 0].tolist()
        assert changed, stated[b]
        if kind in ("time", "season", "weather") or changed[0] < SCENE:
            assert len(changed) == 1 and torch.equal(old[b], new[b])
            continue
        done += 1
        corner = {(k - SCENE) // EACH for k in changed}
        assert len(corner) == 1, stated[b]
        quarter = corner.pop()
        ys, xs = differs[b].nonzero().unbind(1)
        assert len(ys) and (ys // 32 * 2 + xs // 32 == quarter).all(), stated[b]
        if kind == "remove":
            assert len(old[b].unique()) == len(new[b].unique()) + 1
        if kind == "add":
            assert len(old[b].unique()) == len(new[b].unique()) - 1
    assert done > 20 or kind in ("time", "season", "weather")
    assert not is_held_out(pairs(after)).any()


def fits(name: str, thing: wording.Mention) -> bool:
    return set(name.split()) - {"the"} <= {thing.shape, thing.colour, thing.size, thing.texture}


def test_a_name_means_one_object(rows: list[list[int]]) -> None:
    """Read independently: attributes, then a relation to a thing that is the only one of its shape, or a corner."""
    kinds = set()
    for row in rows:
        things = wording.things(row)
        for thing in things:
            name = wording.refer(thing, things)
            head, _, tail = name.partition(" at the ")
            relation = next((r for r in wording.RELATIONS if f" {r} the " in head), None)
            if relation:
                head, anchor = head.split(f" {relation} the ")
            meant = [t for t in things if fits(head, t)]
            if relation and not tail:
                (other,) = [t for t in things if t.shape == anchor]
                edges = wording.graph(row)
                meant = [t for t in meant if (t.number, relation, other.number) in edges]
            elif tail:
                meant = [t for t in meant if CORNERS[t.corner] == tail and (t.place == relation)]
            assert meant == [thing], (name, things)
            kinds.add((bool(relation), bool(tail), len(head.split())))
    assert len(kinds) >= 4


def test_an_unknown_kind_of_instruction_is_refused() -> None:
    with pytest.raises(UnknownName, match="remove"):
        SceneEdits(32, kinds=("removal",))


# -- other views ------------------------------------------------------------------------------------


def test_a_style_keeps_the_scene_and_is_that_of_the_example() -> None:
    world = SceneStyles(64)
    batch = world.batch(torch.arange(24))
    label, source, style = batch.condition.label, batch.condition.source, batch.condition.style
    assert label is not None and source is not None and style is not None
    assert label.unique().tolist() == [0, 1, 2, 3]
    plain = label == list(styles.STYLES).index("flat")
    assert torch.equal(batch.image[plain], source[plain])
    assert all(not torch.equal(batch.image[k], source[k]) for k in (~plain).nonzero()[:, 0])
    # Shrunk far, strokes and tiles are the scene again; a sketch is lighter than any scene.
    shrunk = torch.nn.functional.avg_pool2d(batch.image - source, 16).abs().mean((1, 2, 3))
    for name, most in (("brush", 0.15), ("mosaic", 0.2)):
        assert shrunk[label == list(styles.STYLES).index(name)].max() < most, name
    drawn = label == list(styles.STYLES).index("sketch")
    assert (batch.image[drawn].mean((1, 2, 3)) > source[drawn].mean((1, 2, 3)) + 0.1).all()


def test_tiles_have_one_colour_each() -> None:
    world = SceneStyles(80)  # 4 pixels a tile
    image = styles.styled(world.scenes.arranged(torch.arange(3)), 80, "mosaic")
    inner = image.unfold(2, 4, 4).unfold(3, 4, 4)[..., 1:3, 1:3].flatten(4)  # (B, 3, 20, 20, 4)
    assert torch.equal(inner.amax(-1), inner.amin(-1))


def test_light_is_compressed_and_expanded() -> None:
    value = torch.tensor([0.0, 1e-3, 0.5, 1.0, 20.0, light.MOST])
    assert torch.allclose(light.expand(light.compress(value)), value, rtol=1e-5, atol=1e-6)
    assert light.compress(value)[[0, -1]].tolist() == [-1.0, 1.0]


def test_exposures_record_the_light_up_to_their_white() -> None:
    world = SceneLight(64)
    index = torch.arange(8)
    true = world.moments(index)[1]
    batch = world.batch(index)
    assert batch.condition.source is not None and batch.condition.source.shape == (8, 9, 64, 64)
    assert torch.allclose(light.expand(batch.image), true, rtol=1e-4, atol=1e-5)
    assert true.max() > 8  # beyond any one exposure of paper
    for shown, stops in zip(batch.condition.source.chunk(3, 1), light.STOPS, strict=True):
        seen = ((shown + 1) / 2) ** 2 / 2.0**stops
        clipped = shown >= 1
        assert (true[clipped] >= 0.99 / 2.0**stops).all()
        assert ((seen - true).abs()[~clipped] * 2.0**stops).max() < 2 / 255  # a level, squared
        assert clipped.any() or stops < 0


def test_things_move_between_exposures_only_where_told() -> None:
    still, moving = SceneLight(64), SceneLight(64, moving=True)
    index = torch.arange(8)
    first, middle, last = still.moments(index)
    assert torch.equal(first, middle) and torch.equal(middle, last)
    ghosts = moving.moments(index)
    assert torch.equal(ghosts[1], middle)
    assert all(not torch.equal(ghosts[0][k], ghosts[1][k]) for k in range(len(index)))
