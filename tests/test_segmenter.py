"""The segmenter: it learns a layout, detects outliers, and is measured like every judge."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zeuxis.api.evaluate import evaluate
from zeuxis.api.features import features_of, judge_of
from zeuxis.api.model import Model
from zeuxis.api.runs import train
from zeuxis.batch import Batch, Condition, Shape
from zeuxis.catalog import weights
from zeuxis.catalog.assemble import build_for
from zeuxis.data.library import open_source
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import Turn, play_round
from zeuxis.nn.pixelwise import SegmentationUNet
from zeuxis.recipe import load_recipe
from zeuxis.rng import Stream
from zeuxis.systems.recognition.judge import Judge
from zeuxis.systems.recognition.segmenter import Segmenter
from zeuxis.training.checkpoint import write_model

NAMES = ("back", "dim", "bright")


def world(n: int, rng: Stream, size: int = 12) -> Batch:
    """A dim or bright patch of 4 pixels a side, anywhere."""
    image, layout = torch.full((n, 1, size, size), -1.0), torch.zeros(n, size, size, dtype=torch.int64)
    for k, (y, x, kind) in enumerate(zip(*(rng.integers(m, n).tolist() for m in (size - 3, size - 3, 2)), strict=True)):
        image[k, 0, y : y + 4, x : x + 4] = (0.0, 1.0)[kind]
        layout[k, y : y + 4, x : x + 4] = 1 + kind
    return Batch(image, Condition(layout=layout))


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        system = Segmenter(Shape(1, 12, 12), layout_names=NAMES, widths=(8, 16))
    data, rng, players = Stream(0, "data"), Stream(0, "moves"), system.players()
    optimiser = torch.optim.Adam(players[0].parameters(), 5e-3)

    def step(player, loss, turns):  # type: ignore[no-untyped-def]
        optimiser.zero_grad()
        loss(turns[0]).backward()
        optimiser.step()

    for number in range(90):
        play_round(system, players, lambda n=number: [Turn(world(32, data), rng, n, n / 90)], step)
    return system.eval()


def test_it_predicts_the_layout_and_detects_outliers(segmenter: Segmenter) -> None:
    test = world(200, Stream(1))
    assert test.condition.layout is not None
    logits = segmenter.segment(test.image)
    assert logits.shape == (200, 3, 12, 12)
    found = logits.argmax(1)
    assert (found == test.condition.layout)[test.condition.layout > 0].float().mean() > 0.95
    assert segmenter.in_distribution(test.image).float().mean() > 0.9
    for outliers in (-test.image, Stream(2).normal(200, 1, 12, 12)):
        assert segmenter.in_distribution(outliers).float().mean() < 0.3


def test_noise_and_light_change_little(segmenter: Segmenter) -> None:
    test = world(100, Stream(3))
    plain = segmenter.segment(test.image).argmax(1)
    for other in (0.9 * test.image + 0.05, test.image + 0.1 * Stream(4).normal(*test.image.shape)):
        assert (segmenter.segment(other).argmax(1) == plain).float().mean() > 0.97


@pytest.mark.parametrize("size", [(8, 8), (9, 14), (33, 20)])
def test_the_network_takes_any_size(size: tuple[int, int]) -> None:
    network = SegmentationUNet(3, 5, widths=(8, 16, 16))
    image = Stream(5).normal(2, 3, *size)
    assert network(image).shape == (2, 5, *size)
    torch.testing.assert_close(network(image)[1:], network(image[1:]))


def test_data_without_a_layout_is_refused() -> None:
    with pytest.raises(UsageError, match="layout of 2 classes"):
        Segmenter(Shape(3, 16, 16))
    recipe = load_recipe("segmenter-scenes", ('data="digits"', "size=8"))
    with pytest.raises(Unsupported, match=r"needs layout, which 'digits' does not provide: .*scenes.*terrain"):
        build_for(recipe, open_source("digits", 8))


@pytest.mark.parametrize("name", ["scenes", "terrain", "faces", "faces-pairs"])
def test_worlds_name_every_class_of_their_layout(name: str) -> None:
    source = open_source(name, 16)
    layout = source.batch(torch.arange(64)).condition.layout
    assert layout is not None and int(layout.max()) < len(source.spec.layout_names)
    assert len(open_source("scenes | blur:1", 16).spec.layout_names) == 7
    assert open_source("digits", 8).spec.layout_names == ()


def test_it_is_trained_and_measured_as_every_judge_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    changes = ("size=16", "model.widths=[8, 16]", "train.iterations=2", "train.batch=4", 'train.precision="float32"')
    run = train(load_recipe("segmenter-scenes", changes), out=tmp_path / "run")
    model = weights.load_system(run.folder)
    figures = evaluate(Model("run", *model), samples=24)
    names = [f.name for f in figures]
    assert names[0] == "miou" and names[-2:] == ["pixel-accuracy", "recognised"] and "miou/sky" in names
    assert all(0 <= f.value <= 1 and f.samples == 24 and f.reference for f in figures)
    with pytest.raises(
        Unsupported, match=r"cannot judge the pictures of its data \(classify\); it can: in_distribution, segment"
    ):
        evaluate(Model("run", *model), samples=8, metrics=("accuracy",))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped weights with models of faces, of which only judges have features and factors."""
    for name, side in (("a-segmenter", 32), ("judge-32", 32), ("judge-64", 64)):
        source = open_source("faces", side)
        system = (
            Segmenter(source.spec.shape, layout_names=source.spec.layout_names, widths=(8, 16))
            if "segmenter" in name
            else Judge(source.spec.shape, factors=source.spec.factors, widths=(8, 16), features=16)
        )
        write_model(tmp_path / name, system, {"data": "faces"})
    monkeypatch.setattr(weights, "WEIGHTS", tmp_path)
    weights.shipped.cache_clear()
    yield tmp_path
    weights.shipped.cache_clear()


@pytest.mark.usefixtures("shelf")
def test_pictures_of_faces_are_compared_by_the_features_of_their_judge() -> None:
    for data, shape in (("faces", (3, 32, 32)), ("faces-pairs", (3, 64, 64))):
        space = features_of(data, None, shape)
        assert space.name == f"judge-{shape[1]}" and space.of(torch.zeros(2, *shape)).shape == (2, 16)
    assert features_of("faces").name == "judge-32" and features_of("scenes").name == "pixels-8"
    judge = judge_of("faces", "segment", (3, 64, 64))
    assert judge is not None and judge.name == "a-segmenter"
    assert judge_of("faces", "verify") is None
