"""A recipe may name a trained model for its system to build upon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import toy_source

from zeuxis.api.runs import train
from zeuxis.catalog.assemble import build_for
from zeuxis.catalog.build import given_models
from zeuxis.catalog.weights import load_system, locate
from zeuxis.errors import UnknownName, UsageError
from zeuxis.recipe import load_recipe

TINY = ('data="digits"', "size=8", "train.rounds=2", "train.minutes=1", "train.batch=4")
VQGAN = ("model.multiples=[1,2]", "model.codes=4", "model.width=8", "model.latent=8", "model.code_width=4")


def test_a_recipe_gives_a_trained_model_by_name(tmp_path: Path) -> None:
    reader, _ = load_system("features-digits")
    recipe = load_recipe("vqgan", (*TINY, *VQGAN, "model.layers=1", 'model.features="features-digits"'))
    assert given_models(recipe) == {"features": "features-digits"}
    run = train(recipe, out=tmp_path / "run")
    system, card = load_system(run.folder)
    (features,) = system.frozen
    assert all(torch.equal(a, b) for a, b in zip(features.parameters(), reader.parameters(), strict=True))
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
    assert all(torch.equal(a, b) for a, b in zip(system.tokeniser.parameters(), tokeniser.parameters(), strict=True))
