"""The facts of data, from the source through the system into the card and back; and pictures of any shape."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import toy_source
from PIL import Image

from zeuxis.api.evaluate import evaluate
from zeuxis.api.model import load
from zeuxis.api.runs import train
from zeuxis.catalog.build import build
from zeuxis.catalog.weights import load_system, shipped
from zeuxis.cli.options import recipe_of
from zeuxis.data.fit import Buckets, Crop, Square
from zeuxis.data.library import WORLDS, open_source
from zeuxis.data.source import ArraySource
from zeuxis.errors import Unsupported, UsageError
from zeuxis.recipe import load_recipe
from zeuxis.spec import DataSpec, Shape, parse_size, spell_size
from zeuxis.systems.density.gaussian import Gaussian
from zeuxis.systems.recognition.judge import Judge
from zeuxis.training.checkpoint import read_model, write_model
from zeuxis.training.legacy import upgraded_card

FULL = DataSpec(
    shape=Shape(12, 6, 8),
    source_shape=Shape(9, 3, 4),
    frames=4,
    class_names=("ant", "bee"),
    layout_names=("sky", "ground", "ant"),
    words=("a", "bee"),
    factors=(("time", 2), ("place", 7)),
    provides=frozenset({"label", "layout", "caption", "factors", "source"}),
)


def test_every_fact_survives_being_written() -> None:
    empty = DataSpec(Shape(1, 2, 3))
    for field in fields(DataSpec):
        assert getattr(FULL, field.name) != getattr(empty, field.name), f"give {field.name} a value in FULL"
        some = replace(empty, **{field.name: getattr(FULL, field.name)})
        assert DataSpec.from_dict(json.loads(json.dumps(some.as_dict()))) == some
    assert DataSpec.from_dict(json.loads(json.dumps(FULL.as_dict()))) == FULL
    assert FULL.facts().keys() == {field.name for field in fields(DataSpec)} | {"classes"}
    with pytest.raises((KeyError, TypeError)):
        DataSpec.from_dict({"class_names": []})


def test_a_system_keeps_the_facts_that_it_was_built_for(tmp_path: Path) -> None:
    system = build("gaussian", FULL, {})
    assert system.spec == FULL
    write_model(tmp_path / "model", system, {})
    again, card = load_system(tmp_path)
    assert again.spec == FULL == DataSpec.from_dict(card["spec"])


def test_a_system_built_by_hand_tells_what_its_arguments_do() -> None:
    assert Gaussian(Shape(1, 4, 5)).spec == DataSpec(Shape(1, 4, 5))
    judge = Judge(Shape(3, 8, 8), factors=(("time", 2),), widths=(4,), features=4)
    assert judge.spec == DataSpec(Shape(3, 8, 8), factors=(("time", 2),))
    assert DataSpec.of_arguments({"shape": (1, 2, 3), "classes": 2}).class_names == ("0", "1")


@pytest.mark.parametrize("name", sorted(shipped()))
def test_cards_without_facts_tell_them_all_the_same(name: str) -> None:
    card = read_model(shipped()[name])[1]
    spec, opened = DataSpec.from_dict(card["spec"]), None
    if card["data"] in WORLDS:
        opened = open_source(card["data"], spec.size).spec
        assert replace(spec, words=(), factors=()) == replace(opened, words=(), factors=())
    assert spec.shape == tuple(card["config"]["shape"])
    assert spec.classes == len(spec.class_names) >= card["config"].get("classes", 0) * ("label" in spec.provides)


@pytest.mark.parametrize(
    ("config", "names", "labels", "layout"),
    [
        ({"classes": 2}, ["ant", "bee"], ("ant", "bee"), ()),
        ({"classes": 2}, [], ("0", "1"), ()),
        ({"layout_names": ["sky", "ground"]}, ["sky", "ground"], (), ("sky", "ground")),
        ({}, ["ant", "bee"], ("ant", "bee"), ()),
    ],
)
def test_names_of_old_cards_are_told_apart(
    config: dict[str, object], names: list[str], labels: tuple[str, ...], layout: tuple[str, ...]
) -> None:
    old = {"system": "x", "config": {"shape": [1, 4, 4], **config}, "class_names": names, "data": "./somebody's"}
    spec = DataSpec.from_dict(upgraded_card(old)["spec"])
    assert (spec.class_names, spec.layout_names) == (labels, layout)


def test_names_are_of_what_they_are_called_after() -> None:
    assert open_source("terrain", 16).spec.class_names == () and len(open_source("terrain", 16).spec.layout_names) == 7
    toy = toy_source().spec
    assert toy.classes == 10 and toy.layout_names == ("0", "1", "2") and toy.source_shape == toy.shape
    with pytest.raises(ValueError, match="names of 'label' without its values"):
        ArraySource("s", np.zeros((2, 1, 4, 4), np.uint8), class_names=["a"])


@pytest.mark.parametrize("chain", ["shrink:2", "grey", "noise:0.1", "hole", "sensor"])
def test_a_degraded_source_states_the_shape_that_it_gives(chain: str) -> None:
    source = open_source(f"scenes | {chain}", 16)
    given = source.batch(torch.arange(2)).condition.source
    assert given is not None and given.shape[1:] == source.spec.source_shape
    assert source.batch(torch.arange(2)).condition.given == source.spec.provides


# -- pictures of any shape ----------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "size"), [("32", 32), ("32x24", (24, 32)), ("16x16", 16), (None, None)])
def test_a_size_is_spelt_width_by_height(text: str | None, size: int | tuple[int, int] | None) -> None:
    assert parse_size(text) == size
    assert parse_size(None if size is None else spell_size(size)) == size


@pytest.mark.parametrize("text", ["24,32", "x32", "32x", "-4", "3", "32x5000", "large"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--size {text}"):
        parse_size(text)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty coloured pictures of several shapes."""
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "pictures"
    home.mkdir()
    for k in range(40):
        wide, tall = ((40, 30), (30, 40), (64, 20))[k % 3]
        shade = np.linspace(0, 255, wide * tall * 3).reshape(tall, wide, 3)
        Image.fromarray(((shade + 5 * k) % 256).astype(np.uint8)).save(home / f"{k:02}.png")
    return home


def test_a_model_of_wide_pictures_is_trained_and_measured(folder: Path) -> None:
    recipe = recipe_of("gaussian", data=str(folder), size=parse_size("32x24"))
    assert recipe.size == (24, 32)
    run = train(recipe, out=folder.parent / "run")
    model = load(run.folder)
    assert model.system.spec.shape == (3, 24, 32) and model.system.spec.size == (24, 32)
    for split in ("train", "test"):
        source = open_source(str(folder), model.system.spec.size, split)
        assert source.spec.shape == source.batch(torch.tensor([0])).image.shape[1:] == model.system.shape
    figures = evaluate(model, samples=4, metrics=("frechet",))
    assert figures[0].name == "frechet" and np.isfinite(figures[0].value)
    assert load_recipe("gaussian", ("size=[24, 32]",)).size == (24, 32)
    with pytest.raises(UsageError, match="from 4 to 4096"):
        load_recipe("gaussian", ("size=[2, 32]",))


def test_a_dataset_takes_any_shape_and_a_world_says_that_it_draws_squares() -> None:
    source = open_source("digits", (12, 16))
    assert source.spec.shape == source.batch(torch.tensor([0])).image.shape[1:] == (1, 12, 16)
    with pytest.raises(Unsupported, match="'scenes' draws squares, not 16x12"):
        open_source("scenes", (12, 16))
    assert open_source("scenes", (16, 16)).spec.size == 16


def test_a_crop_is_a_window_of_the_wanted_shape(folder: Path) -> None:
    source = open_source(str(folder), (12, 18), fit="crop:1.25")
    assert source.spec.shape == (3, 12, 18)
    one, other = (source.at(epoch).batch(torch.arange(8)).image for epoch in (0, 1))
    assert one.shape == other.shape == (8, 3, 12, 18) and not torch.equal(one, other)


@pytest.mark.parametrize("seen", [(40, 30), (30, 40), (64, 20), (20, 640), (7, 5)])
@pytest.mark.parametrize("size", [16, (12, 18), (18, 12)])
def test_what_is_kept_for_a_crop_covers_the_window(seen: tuple[int, int], size: int | tuple[int, int]) -> None:
    wide, tall = Square().kept(*seen, size)
    assert (tall, wide) == (size if isinstance(size, tuple) else (size, size))
    kept = Crop(1.25).kept(*seen, size)
    assert kept[0] >= wide and kept[1] >= tall
    # Either it keeps the picture's proportions, or it is three times as elongated as the window.
    stretch = (kept[0] / kept[1]) / (seen[0] / seen[1])
    assert stretch == pytest.approx(1, abs=0.1) or max(kept[0] / wide, kept[1] / tall) >= 3


def test_buckets_choose_their_own_shapes() -> None:
    with pytest.raises(UsageError, match="give --size as one number"):
        Buckets(8).kept(40, 30, (24, 32))
