"""A recipe may name a trained model for its system to build upon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import toy_source
from safetensors.torch import load_file
from torch import nn

from zeuxis.api.parameters import recipe_counts
from zeuxis.api.runs import train
from zeuxis.batch import Shape
from zeuxis.card import Card
from zeuxis.catalog.assemble import build_for
from zeuxis.catalog.build import build, given_models
from zeuxis.catalog.listing import system_class as listed
from zeuxis.catalog.weights import load_system, locate
from zeuxis.errors import UnknownName, UsageError, WeightsError
from zeuxis.game import System
from zeuxis.recipe import load_recipe
from zeuxis.rng import ImageRng
from zeuxis.spec import DataSpec
from zeuxis.training.checkpoint import write_model
from zeuxis.training.given import stored
from zeuxis.training.precision import autocast

TINY = ('data="digits"', "size=8", "train.iterations=2", "train.minutes=1", "train.batch=4")
VQGAN = ("model.multiples=[1,2]", "model.codes=4", "model.width=8", "model.latent=8", "model.code_width=4")


def test_a_recipe_gives_a_trained_model_by_name(tmp_path: Path) -> None:
    classifier, _ = load_system("features-digits")
    recipe = load_recipe("vqgan", (*TINY, *VQGAN, "model.layers=1", 'model.features="features-digits"'))
    assert given_models(recipe) == {"features": "features-digits"}
    run = train(recipe, out=tmp_path / "run")
    system, card = load_system(run.folder)
    (features,) = system.frozen
    assert not any(name.startswith("features.") for name in load_file(run.folder / "model" / "model.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(features.parameters(), classifier.parameters(), strict=True))
    shipped = json.loads((locate("features-digits") / "model.json").read_text())
    assert card["built_upon"] == {"features": {"model": "features-digits", "sha256": shipped["sha256"]}}


def test_a_model_that_is_not_there_is_named() -> None:
    recipe = load_recipe("vqgan", (*VQGAN, 'model.features="features-digit"'))
    with pytest.raises(UnknownName, match="features-digits"):
        build_for(recipe, toy_source(1, 8))


def test_a_number_is_no_model() -> None:
    recipe = load_recipe("vqgan", (*VQGAN, "model.features=3"))
    with pytest.raises(UsageError, match=r"model\.features is a trained model"):
        build_for(recipe, toy_source(1, 8))


def test_a_prior_stands_upon_a_run_folder(tmp_path: Path) -> None:
    first = train(load_recipe("vqgan", (*TINY, *VQGAN, "model.layers=1")), out=tmp_path / "first")
    size = ("model.width=16", "model.depth=1", "model.heads=2")
    recipe = load_recipe("maskgit", (*TINY, *size, f'model.tokeniser="{first.folder}"'))
    run = train(recipe, out=tmp_path / "prior")
    system, card = load_system(run.folder)
    assert system.layout == (4, (4, 4))
    assert card["built_upon"]["tokeniser"]["model"] == str(first.folder)
    tokeniser, _ = load_system(first.folder)
    states = [*(run.folder / "checkpoints").glob("*/state.safetensors"), run.folder / "model" / "model.safetensors"]
    assert len(states) == 2 and not any("tokeniser" in name for path in states for name in load_file(path))
    assert all(torch.equal(a, b) for a, b in zip(system.tokeniser.parameters(), tokeniser.parameters(), strict=True))


class Pair(System):
    """Stands upon systems given one by one, in a tuple, and inside one another."""

    card = Card("pair", title="Pair", family="test", year=2026, paper="none")

    def __init__(self, shape: Shape, *, first: System, others: tuple[System, ...] = (), sizes: tuple[int, ...] = ()):
        super().__init__()
        self.shape, self.sizes = Shape(*shape), sizes
        self.first, self.others = self.freeze(first), self.freeze(nn.ModuleList(others))
        self.layer = nn.Linear(2, 2)
        self.tied = self.layer


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> type[System]:
    def system_class(name: str) -> type[System]:
        return Pair if name == "pair" else listed(name)

    monkeypatch.setattr("zeuxis.catalog.build.system_class", system_class)
    monkeypatch.setattr("zeuxis.catalog.weights.entry", system_class)  # which asks only whether there is one
    return Pair


def small(seed: int = 0) -> System:
    return build("gaussian", DataSpec(Shape(1, 2, 2)), {}, seed)


def kept(folder: Path, value: float) -> System:
    """A loaded model that is kept in ``folder``."""
    system = small()
    system.mean.fill_(value)
    write_model(folder / "model", system, {})
    return load_system(folder)[0]


def test_given_systems_come_back_nested_and_in_tuples(pair: type[System], tmp_path: Path) -> None:
    one, two = kept(tmp_path / "one", 1.0), kept(tmp_path / "two", 2.0)
    loose = small()  # kept nowhere: it is written whole
    loose.mean.fill_(3.0)
    inner = pair((1, 2, 2), first=one, others=(loose,))
    outer = pair((1, 2, 2), first=inner, others=(two, loose), sizes=(1, 2))
    write_model(tmp_path / "outer" / "model", outer, {})
    names = load_file(tmp_path / "outer" / "model" / "model.safetensors").keys()
    assert not any(name.startswith(("first.first.", "others.0.")) for name in names)
    assert {"layer.weight", "first.layer.weight", "others.1.mean", "first.others.0.mean"} <= names
    again, _ = load_system(tmp_path / "outer")
    state = again.state_dict()
    assert state.keys() == outer.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in outer.state_dict().items())
    assert again.config["sizes"] == (1, 2) and isinstance(again.config["others"], tuple)
    assert again.tied.weight is again.layer.weight
    write_model(tmp_path / "copy" / "model", again, {})
    assert load_file(tmp_path / "copy" / "model" / "model.safetensors").keys() == names


def test_what_was_given_is_found_beside_or_missed_by_name(pair: type[System], tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    write_model(tmp_path / "here" / "b" / "model", pair((1, 2, 2), first=kept(tmp_path / "here" / "a", 1.0)), {})
    (tmp_path / "here").rename(tmp_path / "there")  # both moved
    system, card = load_system(tmp_path / "there" / "b")
    assert float(system.first.mean[0]) == 1.0 and card["config"]["first"]["given"]["near"] == "../../a/model"
    (tmp_path / "there" / "a").rename(tmp_path / "there" / "c")
    with pytest.raises(WeightsError, match=r"here/a/model .its 'first'.*which is not there: put it back"):
        load_system(tmp_path / "there" / "b")
    kept(tmp_path / "there" / "a", 2.0)
    with pytest.raises(WeightsError, match="has other weights now"):
        load_system(tmp_path / "there" / "b")


def test_a_model_with_copies_of_what_it_was_given_still_loads(pair: type[System], tmp_path: Path) -> None:
    first = kept(tmp_path / "a", 1.0)
    outer = pair((1, 2, 2), first=first)
    first.origin = None  # as older versions wrote it
    write_model(tmp_path / "b", outer, {})
    assert "first.mean" in load_file(tmp_path / "b" / "model.safetensors")
    again, _ = load_system(tmp_path / "b")
    assert torch.equal(again.first.mean, first.mean) and again.first.origin is None


def test_an_adapter_inside_what_was_given_is_stored(pair: type[System], tmp_path: Path) -> None:
    outer = pair((1, 2, 2), first=kept(tmp_path / "a", 1.0))
    outer.first.adapter = nn.Linear(2, 2)
    assert {"first.adapter.weight", "first.adapter.bias"} < stored(outer).keys()
    assert not any("mean" in name for name in stored(outer))


def test_weights_load_in_half_and_run_under_autocast() -> None:
    whole, _ = load_system("vqgan")
    half, _ = load_system("vqgan", dtype=torch.bfloat16)
    for name, p in half.named_parameters():
        assert p.dtype == (torch.bfloat16 if p.ndim > 1 else torch.float32), name
    assert all(b.dtype == dict(whole.named_buffers())[name].dtype for name, b in half.named_buffers())
    with torch.inference_mode():
        codes = whole.encode(ImageRng([0]).uniform(1, *whole.shape) * 2 - 1)
        want = whole.decode(codes)
        with autocast("cpu", "bfloat16"):
            got = half.decode(codes)
    assert 0 < (got.float() - want).abs().max() < 0.1


def test_large_weights_are_mapped_and_small_ones_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path, 1.0)
    weights = tmp_path / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(WeightsError, match="damaged"):
        load_system(tmp_path)
    monkeypatch.setattr("zeuxis.training.checkpoint.LARGE", 16)
    load_system(tmp_path)  # its hash is not computed
    weights.write_bytes(data[:-4])
    with pytest.raises(WeightsError, match="cannot read"):
        load_system(tmp_path)


def test_the_parameters_of_a_recipe_upon_other_models_are_counted() -> None:
    """Upon a shipped one, and upon one that is to be trained first and is therefore built from its recipe."""
    assert recipe_counts(load_recipe("maskgit"))["tokeniser"] == sum(
        p.numel() for p in load_system("vqgan")[0].parameters()
    )
    first = recipe_counts(load_recipe("autoencoder"))
    assert recipe_counts(load_recipe("latent-prior"))["autoencoder"] == sum(first.values())
