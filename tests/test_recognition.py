"""The classifier and the judge: they learn, ignore what does not matter, and the judge detects outliers."""

from __future__ import annotations

import pytest
import torch

from zeuxis.api.evaluate import evaluate
from zeuxis.api.features import judge_of
from zeuxis.api.model import load
from zeuxis.batch import Batch, Condition, Shape
from zeuxis.data.entries import kin
from zeuxis.errors import UsageError
from zeuxis.game import System, Turn, play_round
from zeuxis.metrics.oracle import UNSAID
from zeuxis.nn.augment import color_jitter, gaussian_noise, random_blur, random_flip, random_shift
from zeuxis.nn.detector import MapDetector
from zeuxis.nn.features import FeatureNetwork
from zeuxis.nn.pixelwise import SegmentationUNet
from zeuxis.rng import Stream
from zeuxis.systems.recognition._family import HORIZON
from zeuxis.systems.recognition.classifier import Classifier
from zeuxis.systems.recognition.judge import Judge
from zeuxis.training.legacy import upgraded_tensors

SHAPE = Shape(1, 8, 8)
FACTORS = (("row", 2), ("column", 2), ("bright", 2))


def world(n: int, rng: Stream) -> Batch:
    """A bright or dim patch in one of four corners: three factors that a picture shows surely."""
    factors = rng.integers(2, n, 3)
    image = torch.full((n, *SHAPE), -1.0)
    for i, (row, column, bright) in enumerate(factors.tolist()):
        image[i, 0, 4 * row + 1 : 4 * row + 4, 4 * column + 1 : 4 * column + 4] = 1.0 if bright else 0.0
    return Batch(image, Condition(label=2 * factors[:, 0] + factors[:, 1], factors=factors))


def train(system: System, rounds: int, seed: int = 0) -> None:
    """A plain loop over the system's game: its own players, no schedule."""
    data, rng = Stream(seed, "data"), Stream(seed, "moves")
    players = system.players()
    optimisers = {p.name: torch.optim.Adam(p.parameters(), 3e-3) for p in players}

    def step(player, loss, turns):  # type: ignore[no-untyped-def]
        optimisers[player.name].zero_grad()
        loss(turns[0]).backward()
        optimisers[player.name].step()

    for number in range(rounds):
        play_round(system, players, lambda n=number: [Turn(world(64, data), rng, n, n / rounds)], step)


def built(system: type[System], **known: object) -> System:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return system(SHAPE, widths=(8, 16), features=16, **known)  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def judge() -> Judge:
    system = built(Judge, factors=FACTORS, detector=(8, 16))
    train(system, 100)
    assert isinstance(system, Judge)
    return system.eval()


# -- the classifier -------------------------------------------------------------------------------


def test_a_classifier_learns_and_its_features_tell_the_classes_apart() -> None:
    system = built(Classifier, classes=4, shift=0)
    train(system, 60)
    test = world(200, Stream(1))
    (logits,) = system.classify(test.image)
    assert test.condition.label is not None
    assert (logits.argmax(1) == test.condition.label).float().mean() > 0.95
    features = system.encode(test.image)
    assert features.shape == (200, 16)
    centres = torch.stack([features[test.condition.label == k].mean(0) for k in range(4)])
    nearest = torch.cdist(features, centres).argmin(1)
    assert (nearest == test.condition.label).float().mean() > 0.95


def test_features_do_not_depend_on_the_batch() -> None:
    system = built(Classifier, classes=4)
    image = world(6, Stream(2)).image
    for mode in (True, False):
        system.train(mode)
        torch.testing.assert_close(system.encode(image)[2:3], system.encode(image[2:3]))


def test_the_loss_draws_from_the_turn_alone() -> None:
    system = built(Classifier, classes=4, mirror=True)
    batch = world(16, Stream(3))
    losses = [system.moves()[0].loss(Turn(batch, Stream(seed), 0, 0.0)) for seed in (5, 5, 6)]
    assert losses[0] == losses[1] != losses[2]


def test_data_without_labels_or_factors_is_refused() -> None:
    with pytest.raises(UsageError, match="2 classes or more"):
        Classifier(SHAPE)
    with pytest.raises(UsageError, match="data with factors"):
        Judge(SHAPE)


@pytest.mark.parametrize("network", [lambda s: FeatureNetwork(s, (3, 2)), lambda s: SegmentationUNet(s.channels, 4)])
@pytest.mark.parametrize("shape", [Shape(1, 8, 8), Shape(3, 20, 36)])
def test_maps_have_the_shapes_that_are_told_and_hold_all_that_is_read(network, shape: Shape) -> None:  # type: ignore[no-untyped-def]
    net, image = network(shape), Stream(1).normal(2, *shape)
    maps = net.maps(image)
    assert tuple(tuple(m.shape[1:]) for m in maps) == net.map_shapes(shape.height, shape.width)
    for whole, read in zip(net(image), net.read(maps), strict=True):
        assert torch.equal(whole, read)
    detector = MapDetector(net.map_shapes(shape.height, shape.width), (8, 16))
    score = detector(maps)
    assert score.shape == (2,)
    torch.testing.assert_close(score[1:], detector(tuple(m[1:] for m in maps)))
    picture = (tuple(shape), *net.map_shapes(shape.height, shape.width))
    sees, deep = MapDetector(picture, (8, 16)), MapDetector(picture, (8, 16), depth=3)
    assert sees((image, *maps)).shape == deep((image, *maps)).shape == (2,)
    count = [sum(isinstance(m, torch.nn.Conv2d) for m in detector.modules()) for detector in (sees, deep)]
    assert count[1] == 3 * count[0]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 20, 36), (3, 64, 64)])
def test_the_network_takes_any_size(shape: tuple[int, int, int]) -> None:
    network = FeatureNetwork(Shape(*shape), (3, 5), widths=(8, 16, 16), features=12)
    image = torch.zeros(2, *shape)
    assert network.features(image).shape == (2, 12)
    assert [tuple(k.shape) for k in network(image)] == [(2, 3), (2, 5)]


# -- the judge ------------------------------------------------------------------------------------


def test_a_judge_predicts_every_factor(judge: Judge) -> None:
    test = world(300, Stream(4))
    found = judge.predict(test.image)
    assert test.condition.factors is not None and found.shape == (300, 3)
    assert (found == test.condition.factors).all(1).float().mean() > 0.97
    assert [k.shape[1] for k in judge.classify(test.image)] == [k for _, k in FACTORS]
    assert judge.names == ("row", "column", "bright")


def test_a_judge_tells_its_world_from_outliers(judge: Judge) -> None:
    own = world(300, Stream(5)).image
    assert judge.in_distribution(own).float().mean() > 0.95
    two_patches = torch.maximum(own[:100], own[100:200])[(own[:100] != own[100:200]).flatten(1).any(1)]
    noise, stripes = Stream(6).normal(200, *SHAPE), torch.ones(SHAPE).mul(torch.tensor([1.0, -1.0]).repeat(4))[None]
    for outliers in (noise, -own, stripes):
        assert judge.in_distribution(outliers).float().mean() < 0.3
    read = (judge.ood_score(two_patches) <= judge.ood_threshold).float().mean()
    assert judge.ood_score(two_patches).median() > judge.ood_score(own).quantile(0.9)
    # What need not be read to tell the factors is what a second network is for.
    assert judge.in_distribution(two_patches).float().mean() < min(0.6, read)


def test_the_threshold_follows_the_scores_and_is_kept_with_the_weights(judge: Judge) -> None:
    state = {k: v.half() if v.is_floating_point() else v for k, v in judge.state_dict().items()}
    again = built(Judge, factors=FACTORS, detector=(8, 16))
    again.load_state_dict(state)
    assert isinstance(again, Judge) and again.ood_threshold == pytest.approx(float(judge.ood_threshold), rel=1e-3)
    assert again.detector_threshold == pytest.approx(float(judge.detector_threshold), rel=1e-3)
    scores, others = Stream(7).uniform(1000), Stream(8).normal(1000)
    batch, memo = world(4, Stream(8)), {"ood_score": scores, "detector_score": others}
    for number in range(10 * HORIZON):
        again.after_round(Turn(batch, Stream(9), number, 0.0, memo=memo))
    assert float(again.ood_threshold) == pytest.approx(float(scores.quantile(0.99)), rel=1e-3)
    assert float(again.detector_threshold) == pytest.approx(float(others.quantile(0.99)), rel=1e-3)


def test_a_network_that_was_frozen_is_left_alone_and_the_detector_learns() -> None:
    system = built(Judge, factors=FACTORS, detector=(8, 16))
    assert isinstance(system, Judge) and [p.name for p in system.players()] == ["network", "detector"]
    system.network.requires_grad_(False)
    before = {name: value.clone() for name, value in system.state_dict().items()}
    assert [p.name for p in system.players()] == [m.player for m in system.moves()] == ["detector"]
    train(system, 2)
    changed = {name for name, value in system.state_dict().items() if not torch.equal(value, before[name])}
    learnt = {name for name in before if name.startswith("detector")}
    assert changed == learnt | {"rounds_seen"}


def test_judges_of_before_there_were_detectors_are_what_they_were() -> None:
    system = built(Judge, factors=FACTORS)
    assert isinstance(system, Judge) and not any("detector" in name for name in system.state_dict())
    assert [p.name for p in system.players()] == ["network"]
    system.ood_threshold.fill_(0.5)
    image = world(50, Stream(2)).image
    assert torch.equal(system.in_distribution(image), system.ood_score(image) <= 0.5)


def test_a_detector_that_sees_the_picture_notices_what_the_network_does_not() -> None:
    system = built(Judge, factors=FACTORS, detector=(8, 16), detector_picture=True, detector_depth=2)
    assert isinstance(system, Judge)
    one, other = world(4, Stream(5)).image, world(4, Stream(6)).image
    maps = tuple(torch.zeros_like(m) for m in system.network.maps(one))
    with torch.no_grad():
        assert not torch.equal(system.detected(one, maps), system.detected(other, maps))
        assert torch.equal(system.detected(one, system.network.maps(one)), system.detector_score(one))


def test_what_a_picture_leaves_open_has_no_loss() -> None:
    system = built(Judge, factors=FACTORS)
    batch = world(16, Stream(13))
    assert batch.condition.factors is not None

    def loss_of(factors: torch.Tensor) -> torch.Tensor:
        turn = Turn(Batch(batch.image, Condition(factors=factors)), Stream(14), 0, 0.0)
        loss = system.moves()[0].loss(turn)
        assert loss is not None
        return loss

    half = batch.condition.factors.clone()
    half[:8, 1] = UNSAID
    other = half.clone()
    other[:8, 0] = 1 - other[:8, 0]
    assert len({float(loss_of(f).detach()) for f in (batch.condition.factors, half, other)}) == 3
    silent = half.clone()
    silent[:, 1] = UNSAID
    system.zero_grad()
    loss_of(silent).backward()
    heads = [head.weight.grad for head in system.network.heads]  # type: ignore[union-attr]
    assert all(g is not None and torch.isfinite(g).all() for g in heads)
    with torch.no_grad():  # only outliers reach a head whose factor no picture states
        system.exposure = 0.0  # type: ignore[assignment]
    system.zero_grad()
    loss_of(silent).backward()
    assert not system.network.heads[1].weight.grad.any() and system.network.heads[0].weight.grad.any()  # type: ignore


def test_the_shipped_judge_says_how_many_pictures_it_recognises() -> None:
    figures = {f.name: f for f in evaluate(load("judge-scenes"), samples=128, metrics=("agreement",))}
    assert "agreement/time" in figures and figures["recognised"].value > 0.95
    assert figures["recognised"].warning is None and figures["recognised"].samples == 128


def test_an_untrained_judge_finds_no_outliers() -> None:
    system = built(Judge, factors=FACTORS)
    assert isinstance(system, Judge) and system.in_distribution(torch.full((3, *SHAPE), 9.0)).all()


def test_old_checkpoints_of_judges_are_renamed() -> None:
    old = {"limit": 1, "system/limit": 2, "system/seen": 3, "optimiser/reader/0.exp_avg": 4, "reader.weight": 5}
    new = ["ood_threshold", "system/ood_threshold", "system/rounds_seen", "optimiser/network/0.exp_avg"]
    assert list(upgraded_tensors(old, 1)) == [*new, "reader.weight"]
    assert upgraded_tensors(old, 2) == old


# -- augmentation ---------------------------------------------------------------------------------------


def test_shifts_move_whole_pictures_by_a_few_pixels_each_way() -> None:
    image = torch.zeros(200, 1, 9, 9)
    image[:, :, 4, 4] = 1
    moved = random_shift(image, Stream(9), 2)
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(200))  # nothing is lost or doubled
    at = moved.flatten(1).argmax(1)
    assert set((at // 9).tolist()) == set((at % 9).tolist()) == {2, 3, 4, 5, 6}
    assert torch.equal(random_shift(image, Stream(9), 0), image)


def test_jitter_is_seeded_bounded_and_its_own_for_each_picture() -> None:
    image = world(64, Stream(10)).image

    changes = (
        lambda x, r: color_jitter(x, r, 0.1),
        lambda x, r: gaussian_noise(x, r, 0.1),
        lambda x, r: random_shift(x, r, 1),
        random_flip,
        random_blur,
    )
    for change in changes:
        once, twice, other = (change(image, Stream(seed)) for seed in (1, 1, 2))
        assert torch.equal(once, twice) and not torch.equal(once, other)
        assert once.shape == image.shape
        apart = (once - image).abs().flatten(1).amax(1)
        assert len(set(apart.tolist())) > 1  # not one change for all
    assert color_jitter(image, Stream(1), 0.1).abs().max() <= 1
    assert (color_jitter(image, Stream(1), 0.1) - image).abs().max() <= 0.2 + 1e-6
    assert (random_flip(random_flip(image, Stream(3)), Stream(3)) == image).all()
    assert random_blur(torch.full((2, 1, 8, 8), 0.5), Stream(4)).sub(0.5).abs().max() < 1e-6


def test_which_judge_is_of_which_data() -> None:
    """A judge of one world is not asked about another whose name begins alike."""
    assert kin("scenes-day-night") == ("scenes-day-night", "scenes")
    assert kin("scenes | blur:2") == ("scenes",) and kin("scenes-rich") == ("scenes-rich", "scenes-rich-all")
    judge = judge_of("scenes-day-night")
    assert judge is not None and judge.name == "judge-scenes"
    for rich in ("scenes-rich", "scenes-rich-unseen", "scenes-edits"):
        other = judge_of(rich)
        assert other is not None and other.name == "judge-scenes-rich"
