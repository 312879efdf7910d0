"""Training pictures flipped, turned, and with their channels exchanged; trainings of a part of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zeuxis.api import compare, diagnose, functions, reference
from zeuxis.api.evaluate import evaluate
from zeuxis.api.neighbours import neighbours
from zeuxis.api.reference import Reference
from zeuxis.api.runs import train
from zeuxis.cli.options import recipe_of
from zeuxis.data.augmented import ORDERS, augmented
from zeuxis.data.degraded import DegradedSource
from zeuxis.data.library import data_of, open_source, trained_part
from zeuxis.data.pairing import LayoutDrawn, coloured, paired
from zeuxis.data.source import ArraySource
from zeuxis.data.subset import SubsetSource, subset
from zeuxis.data.unpaired import UnpairedSource
from zeuxis.degrade.language import parse_chain
from zeuxis.errors import UsageError
from zeuxis.recipe import load_recipe

N = 500
SMALL = {
    **{"model.nz": 8, "model.width": 8, "model.channel_base": 64, "model.channel_max": 8},
    **{"train.iterations": 1, "train.batch": 4},
}
INDEX = torch.arange(N)


def numbered(height: int = 4, width: int = 4, channels: int = 3, **fields: np.ndarray | list[str]) -> ArraySource:
    """The same picture many times, no two of whose values are equal."""
    one = np.arange(channels * height * width, dtype=np.uint8).reshape(1, channels, height, width)
    return ArraySource("numbered", np.repeat(one, N, 0), fields=fields)


def ways(images: torch.Tensor) -> set[bytes]:
    return {one.numpy().tobytes() for one in images}


def symmetries(image: torch.Tensor) -> set[bytes]:
    turned = [image.rot90(k, (1, 2)) for k in range(4)]
    return ways(torch.stack([*turned, *(one.flip(2) for one in turned)]))


def test_the_ways_are_the_symmetries_and_the_orders() -> None:
    source = numbered()
    image = source.pixels(INDEX[:1]).image[0]
    assert ways(augmented(source, ["flips"]).pixels(INDEX).image) == ways(torch.stack([image, image.flip(2)]))
    assert ways(augmented(source, ["turns"]).pixels(INDEX).image) == symmetries(image)
    orders = ways(torch.stack([image[list(order)] for order in ORDERS]))
    assert ways(augmented(source, ["channels"]).pixels(INDEX).image) == orders
    assert len(ways(augmented(source, ["turns", "channels"]).pixels(INDEX).image)) == 48


def test_what_lies_beside_a_picture_turns_with_it() -> None:
    image = numbered().pixels(INDEX).image.numpy()
    source = augmented(numbered(source=image, layout=image[:, 0], mask=image[:, :1] / 255), ["turns", "channels"])
    batch = source.batch(INDEX)
    assert torch.equal(batch.image, batch.condition.source)
    assert ways(batch.condition.layout) == symmetries(torch.arange(16).view(1, 4, 4))
    assert torch.equal((batch.condition.mask * 255).round().long()[:, 0], batch.condition.layout)


def test_each_epoch_varies_anew_and_an_example_is_the_same_in_any_company() -> None:
    source = augmented(numbered(), ["turns"])
    first, again, later = source.pixels(INDEX).image, source.at(0).pixels(INDEX).image, source.at(1).pixels(INDEX).image
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert torch.equal(source.pixels(INDEX[7:9]).image, first[7:9])
    assert source.fingerprint() == numbered().fingerprint()


def test_a_layout_keeps_the_colours_of_its_classes_where_channels_are_exchanged() -> None:
    layout = np.tile(np.arange(16, dtype=np.int64).reshape(1, 4, 4) % 3, (N, 1, 1))
    clean = numbered(layout=layout)
    clean.spec = replace(clean.spec, layout_names=("a", "b", "c"), provides=frozenset({"layout"}))
    batch = augmented(paired(clean, LayoutDrawn()), ["channels"]).batch(INDEX)
    assert len(ways(batch.image)) == len(ORDERS)
    assert torch.equal(batch.condition.source, coloured(torch.from_numpy(layout)))


def test_pictures_are_varied_before_their_damage() -> None:
    degraded = augmented(DegradedSource(numbered(8, 8), parse_chain("shrink:2")), ["turns"])
    batch = degraded.batch(INDEX[:20])
    assert len(ways(batch.image)) > 4
    small = parse_chain("shrink:2").apply(batch.image)
    torch.testing.assert_close(batch.condition.source, small)
    assert degraded.spec.source_shape == (3, 4, 4)


def test_what_would_become_untrue_is_refused() -> None:
    with pytest.raises(UsageError, match=r"comes with caption and factors.*leave augment out"):
        augmented(open_source("scenes", 32), ["flips"])
    with pytest.raises(UsageError, match="no squares: take flips"):
        augmented(numbered(4, 6), ["turns"])
    with pytest.raises(UsageError, match="leave channels out"):
        augmented(numbered(channels=1), ["channels"])
    augmented(numbered(4, 6, channels=1), ["flips"])


def test_a_recipe_names_the_ways() -> None:
    assert load_recipe("jpeg").augment == ("turns", "channels")
    with pytest.raises(UsageError, match=r"augment.*flips"):
        load_recipe("jpeg", ('augment=["spins"]',))


def test_without_any_it_is_the_source_itself() -> None:
    source = numbered()
    assert augmented(source, ()) is source


def test_a_subset_is_drawn_once_and_a_smaller_lies_in_a_larger() -> None:
    images = np.arange(N, dtype=np.uint8).reshape(N, 1, 1, 1).repeat(4, 2).repeat(4, 3)
    source = ArraySource("numbers", images, fields={"label": np.arange(N)})
    few, more = subset(source, 20), subset(source, 60)
    labels = [set(part.batch(torch.arange(len(part))).condition.label.tolist()) for part in (few, more)]
    assert len(few) == 20 and len(labels[0]) == 20 and labels[0] < labels[1]
    batch = few.at(3).pixels(torch.tensor([4, 0]))
    assert batch.index.tolist() == [4, 0]
    assert batch.image[:, 0, 0, 0].tolist() == [label % 256 for label in batch.condition.label.tolist()]
    assert few.remarks == ("20 of 500 pictures are trained on",)
    assert few.fingerprint() == source.fingerprint()
    with pytest.raises(UsageError, match="holds 500 pictures to train on: give fewer"):
        subset(source, 501)
    assert subset(source, None) is source


def test_a_subset_is_told_of_as_the_whole_is() -> None:
    world = open_source("scenes", 8)
    part = subset(world, 5)
    batch = part.batch(torch.tensor([3, 1]))
    assert part.told(batch) == world.told(world.batch(part.chosen[[3, 1]]))


def test_a_subset_of_two_collections_is_refused() -> None:
    two = UnpairedSource("two", numbered(), numbered())
    for source in (two, augmented(two, ("flips",))):
        with pytest.raises(UsageError, match="two collections without pairs"):
            subset(source, 20)


def test_moments_are_no_colours() -> None:
    moving = ArraySource("moving", numbered().images, frames=3)
    with pytest.raises(UsageError, match="augment channels"):
        augmented(moving, ("channels",))


def test_a_subset_of_pictures_of_several_shapes_has_its_own_buckets(tmp_path: Path) -> None:
    for k in range(24):
        noise = np.random.default_rng(k).integers(0, 255, (16, 16 if k % 2 else 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{k}.png")
    source = open_source(tmp_path, 16, fit="bucket:4")
    part = subset(source, 8)
    assert sum(len(bucket.members) for bucket in part.buckets) == 8
    for bucket in part.buckets:
        assert part.batch(bucket.members).image.shape[1:] == bucket.shape


def test_a_training_of_a_subset_meets_its_pictures_alone(tmp_path: Path) -> None:
    plan = load_recipe("gaussian", ("subset=100",))
    run = train(plan, data=data_of("digits"), out=tmp_path / "run")
    assert "100 of 1,439 pictures are trained on" in run.notes
    assert json.loads((run.folder / "run.json").read_text())["recipe"]["subset"] == 100
    assert run.model.card["subset"] == 100 and "augment" not in run.model.card


def test_what_a_model_of_a_subset_draws_is_looked_for_in_what_it_learnt(tmp_path: Path) -> None:
    digits = data_of("digits")
    run = train(
        load_recipe("parzen", ("subset=12", "size=8", "model.keep=8", "model.held=4")),
        data=digits,
        out=tmp_path / "run",
    )
    whole = digits.open(8, "train")
    learnt = trained_part(run.model.card, "digits", whole)
    assert isinstance(learnt, SubsetSource) and len(learnt) == 12
    assert trained_part(run.model.card, "scenes", whole) is whole
    assert trained_part({**run.model.card, "subset": 5000}, "digits", whole) is whole, "fewer pictures are there by now"
    found = neighbours(run.model, n=3, k=2)
    assert (found.searched, found.there_are) == (12, 12)
    assert set(found.index.flatten().tolist()) <= set(learnt.chosen.tolist())
    assert torch.equal(found.images[:, 0], whole.batch(found.index[:, 0]).image)
    assert len(diagnose._opened(run.model, run.recipe, None)[0] or ()) == 12
    told: list[str] = []
    (figure,) = evaluate(run.model, metrics=["kernel"], samples=99, split="train", tell=told.append)
    assert figure.samples == 12 and figure.reference.endswith("/of 12/train/12")
    assert "'digits' holds 12 pictures to measure on, not 99: all of them are taken" in told
    held, order = digits.open(8, "test"), torch.arange(20)
    near = [
        Reference(held, order, whole, part).to_training(found.images[:, 0].flatten(1))[1] for part in (learnt, whole)
    ]
    assert (near[0] >= near[1]).all() and (near[0] > near[1]).any(), "held-out pictures lie nearer to the more"


def test_of_many_training_pictures_those_searched_are_of_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders come class by class: the first of them are of a few classes, and no copy of the others is found."""
    monkeypatch.setattr(reference, "BANK", 40)
    assert reference.rows_searched(40).tolist() == list(range(40))
    rows = reference.rows_searched(400)
    assert len(set(rows.tolist())) == 40 and rows.tolist() == sorted(rows.tolist())
    assert len(set((rows // 40).tolist())) > 5 and torch.equal(rows, reference.rows_searched(400))


def test_a_subset_is_of_the_recipes_own_pictures_and_not_of_others(tmp_path: Path) -> None:
    """A recipe of 1,000 pictures trains on all of a user's, be they fewer, unless so many are asked for."""
    assert load_recipe("stylegan2-ada").subset == 1000
    assert recipe_of("stylegan2-ada").subset == 1000
    assert recipe_of("stylegan2-ada", data="scenes").subset is None
    assert recipe_of("stylegan2-ada", data="scenes", subset=50).subset == 50
    assert recipe_of("stylegan2-ada", data="fashion-mnist | noise:0.1").subset == 1000
    run = functions.train("stylegan2-ada", "digits", size=8, settings=SMALL, out=tmp_path / "run", quiet=True)
    assert run.recipe.subset is None
    plan = compare._plan("stylegan2", "fashion-mnist", load_recipe("stylegan2-ada"), 1, None)
    assert plan.subset == 1000, "all that are compared learn from the same pictures"
