"""A training starts from another model: its networks are sized alike, and where they do not fit, why is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from zeuxis.api import functions
from zeuxis.api.few import VARIED_BELOW, few_pictures, unseen_classes, varied_where_few
from zeuxis.api.suited import not_learnt, sized_by_start, suited, suited_to_start
from zeuxis.batch import Shape
from zeuxis.catalog.build import build
from zeuxis.catalog.weights import start_from
from zeuxis.data.augmented import augmented
from zeuxis.data.source import ArraySource
from zeuxis.data.subset import subset
from zeuxis.errors import WeightsError
from zeuxis.recipe import load_recipe, with_overrides
from zeuxis.spec import DataSpec
from zeuxis.training.checkpoint import write_model

TINY = {"nz": 6, "width": 10, "mapping": 1, "channel_base": 48, "channel_max": 12}


def spec(side: int = 8, channels: int = 3, classes: int = 0) -> DataSpec:
    return DataSpec(Shape(channels, side, side), class_names=tuple(map(str, range(classes))))


def kept(folder: Path, of: DataSpec, system: str = "stylegan2", **options: object) -> Path:
    """A model that has learnt nothing."""
    write_model(folder / "model", build(system, of, {**TINY, **options}, 3).eval(), {"data": "toy"})
    return folder


@pytest.mark.parametrize("system", ["stylegan2", "stylegan2-ada"])
def test_one_that_augments_starts_from_one_that_does_not_and_the_other_way(tmp_path: Path, system: str) -> None:
    (other,) = {"stylegan2", "stylegan2-ada"} - {system}
    start = kept(tmp_path, spec(), other)
    recipe, line = sized_by_start(with_overrides(load_recipe(system), [f'train.start="{start}"']))
    assert line is not None and "model.width = 10" in line and f"as suits a start from {start}" in line
    assert {key: recipe.model[key] for key in TINY} == TINY
    found = build(system, spec(), recipe.model)
    said = start_from(found, start).line
    assert said == f"discriminator and generator of {system} start from {start}, and all else is fresh"
    theirs = build(other, spec(), TINY, 3).state_dict()
    own = found.state_dict()
    assert all(torch.equal(own[key], theirs[key]) for key in own if key.startswith(("generator.", "discriminator.")))


def test_of_other_networks_no_sizes_are_taken(tmp_path: Path) -> None:
    start = kept(tmp_path, spec(), "stylegan", mapping=2)
    recipe = with_overrides(load_recipe("stylegan2"), [f'train.start="{start}"'])
    assert sized_by_start(recipe) == (recipe, None)


@pytest.mark.parametrize(
    ("theirs", "mine", "told"),
    [
        (spec(16), spec(8), "it draws 16x16 pixels and this is to draw 8x8: give --size 16x16"),
        (spec(8, 1), spec(8, 3), "its pictures have 1 channels and these 3"),
        (spec(classes=3), spec(), "it is built with condition label and this with none: give --condition label"),
        (spec(classes=3), spec(classes=4), "it knows 3 classes and these are 4"),
    ],
)
def test_why_a_model_cannot_be_started_from(tmp_path: Path, theirs: DataSpec, mine: DataSpec, told: str) -> None:
    conditions = ["label" if one.class_names else "none" for one in (theirs, mine)]
    start = kept(tmp_path, theirs, condition=conditions[0])
    with pytest.raises(WeightsError, match=told):
        start_from(build("stylegan2", mine, {**TINY, "condition": conditions[1]}), start)


def test_a_discriminator_that_has_learnt_sees_sharply_from_the_first() -> None:
    """As the authors' program does when it resumes from a network."""
    recipe = with_overrides(load_recipe("stylegan3-r"), ["train.start=mine"])
    changed, line = suited_to_start(recipe)
    assert line is not None and line.startswith("model.blur = 0.0, as suits a start from mine")
    assert changed.model == recipe.model | {"blur": 0.0} and suited_to_start(changed) == (changed, None)
    for name, changes in (
        ("stylegan3-r", []),
        ("stylegan3-r", ["train.start=mine", "model.blur=2"]),
        ("stylegan3-t", ["train.start=mine"]),
    ):
        other = with_overrides(load_recipe(name), changes)
        assert suited_to_start(other) == (other, None)


# -- what else a recipe leaves to the data -----------------------------------------------------------------


def pictures(n: int) -> ArraySource:
    return ArraySource("own", np.zeros((n, 1, 8, 8), dtype=np.uint8))


def test_few_pictures_are_told_of() -> None:
    line = few_pictures(load_recipe("stylegan2"), pictures(3))
    assert line is not None and line.startswith("3 pictures are few: a batch of 32 holds some more than once")
    assert "stylegan2-ada varies what it sees" in line
    assert "by heart" not in (few_pictures(load_recipe("stylegan2-ada"), pictures(3)) or "")
    assert few_pictures(load_recipe("stylegan2-ada"), pictures(40)) is None
    assert few_pictures(load_recipe("vae"), pictures(1000)) is None
    assert few_pictures(load_recipe("stylegan2"), pictures(2000)) is None


def test_few_pictures_of_a_users_own_are_varied_by_stylegan2() -> None:
    recipe, line = varied_where_few(with_overrides(load_recipe("stylegan2"), ["data=own"]), pictures(40))
    assert line is not None and line.startswith("40 pictures are few") and "--set system=stylegan2" in line
    theirs = load_recipe("stylegan2").model
    assert recipe.system == "stylegan2-ada" and recipe.model == {"speed": 19_200, **theirs}
    build(recipe.system, spec(), {**recipe.model, **TINY})
    again = varied_where_few(
        with_overrides(load_recipe("stylegan2"), ["data=own", "train.iterations=9000"]), pictures(9)
    )
    assert again[0].model == recipe.model, "a longer training goes on with it"
    paper = varied_where_few(with_overrides(load_recipe("stylegan2-paper"), ["data=own"]), pictures(40))[0]
    assert paper.model["speed"] == 500_000


def test_of_pictures_without_a_hue_only_places_are_varied() -> None:
    four = ArraySource("own", np.zeros((9, 4, 8, 8), dtype=np.uint8))
    recipe, _ = varied_where_few(with_overrides(load_recipe("stylegan2"), ["data=own"]), four)
    assert recipe.model["augment"] == "bg"
    build(recipe.system, four.spec, {**recipe.model, **TINY})


@pytest.mark.parametrize(
    ("name", "changes", "n"),
    [
        ("stylegan2", ["data=own"], VARIED_BELOW),
        ("stylegan2", [], 40),  # what a recipe says of its own data stays: the baseline of stylegan2-ada
        ("stylegan2", ['data="fashion-mnist | noise:0.1"'], 40),
        ("stylegan2", ["data=own", "model.input_maps=fourier"], 40),
        ("stylegan2", ["data=own", "name=mine"], 40),
        ("stylegan3-t", ["data=own"], 40),
        ("stylegan2-ada", ["data=own"], 40),
    ],
)
def test_what_else_is_not_varied(name: str, changes: list[str], n: int) -> None:
    recipe = with_overrides(load_recipe(name), changes)
    assert varied_where_few(recipe, pictures(n)) == (recipe, None)


def test_a_training_on_few_pictures_is_recorded_as_it_was_and_goes_on_so(tmp_path: Path) -> None:
    small = {f"model.{key}": value for key, value in TINY.items()} | {"train.batch": 2, "train.iterations": 1}
    shown = np.zeros((12, 8, 8), dtype=np.uint8)
    run = functions.train("stylegan2", shown, settings=small, out=tmp_path / "run", quiet=True)
    assert run.recipe.system == "stylegan2-ada" and any("varied as far as" in line for line in run.notes)
    assert run.model.card["system"] == "stylegan2-ada" and run.recipe.name == "stylegan2"
    longer = functions.resume(tmp_path / "run", shown, iterations=2, quiet=True)
    assert (longer.began, longer.recipe.model) == (1, run.recipe.model)
    same = functions.train("stylegan2", shown, settings={**small, "train.iterations": 2}, out=tmp_path / "run")
    assert same.idle
    plain = small | {"system": "stylegan2"}
    run = functions.train("stylegan2", shown, settings=plain, out=tmp_path / "plain", quiet=True)
    assert run.recipe.system == "stylegan2" and run.model.card["system"] == "stylegan2"
    resumed = functions.resume(tmp_path / "plain", shown, iterations=2, quiet=True)
    assert resumed.recipe.system == "stylegan2", "what a run was begun with stays"


def test_classes_without_a_training_picture_are_told_of() -> None:
    pixels, label = np.zeros((20, 3, 8, 8), np.uint8), np.repeat([0, 1, 2], [12, 7, 1])
    whole = ArraySource("own", pixels, fields={"label": label}, class_names=("ant", "bee", "cow"))
    told = build("stylegan2", whole.spec, {**TINY, "condition": "label"})
    assert unseen_classes(told, whole) is None
    train = ArraySource("own", pixels, fields={"label": label}, class_names=("ant", "bee", "cow"), rows=np.arange(19))
    line = "no picture of cow is trained on, so nothing is learnt of what it shows"
    assert unseen_classes(told, train) == unseen_classes(told, augmented(train, ("flips",))) == line
    assert "bee, cow" in (
        unseen_classes(
            told, ArraySource("own", pixels[:4], fields={"label": label[:4]}, class_names=whole.spec.class_names)
        )
        or ""
    )
    few = subset(train, 1)
    assert few.labels() is not None and few.labels().tolist() == [int(few.batch(torch.tensor([0])).condition.label)]
    assert unseen_classes(build("stylegan2", whole.spec, TINY), train) is None, "it is told nothing"
    assert unseen_classes(told, pictures(3)) is None


def test_classes_that_are_not_learnt_are_told_of() -> None:
    labelled = ArraySource(
        "own", np.zeros((8, 1, 8, 8), np.uint8), fields={"label": np.arange(8) % 2}, class_names=("ant", "bee")
    )
    own = with_overrides(load_recipe("stylegan2"), ["data=own"])
    line = not_learnt(own, labelled)
    assert line == "the 2 classes of the pictures are not learnt (--condition label learns them)"
    assert not_learnt(own, pictures(8)) is None
    assert not_learnt(load_recipe("stylegan2"), labelled) is None, "the recipe says so of its own"
    for recipe, changes in (("stylegan2", ["model.condition=label"]), ("biggan", []), ("dcgan", [])):
        assert not_learnt(with_overrides(load_recipe(recipe), ["data=own", *changes]), labelled) is None


def test_a_condition_that_is_the_methods_default_is_left_out_too() -> None:
    recipe, line = suited(load_recipe("biggan"), pictures(40))
    assert recipe.model["condition"] == "none" and line is not None and "have no labels" in line
    cgan = load_recipe("cgan")  # which cannot do without
    assert suited(cgan, pictures(40)) == (cgan, None)
