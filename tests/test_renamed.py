"""Models whose cards and tensors have the names of format 1 load as those of now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from zeuxis.api.runs import Recorded, recorded, train
from zeuxis.batch import Shape
from zeuxis.catalog.build import build
from zeuxis.catalog.weights import load_system
from zeuxis.errors import UnknownName, UsageError
from zeuxis.files import file_hash
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.recipe import FORMER, load_recipe
from zeuxis.spec import DataSpec
from zeuxis.systems.autoregressive.maskgit import MaskGIT
from zeuxis.training.checkpoint import write_model
from zeuxis.training.legacy import BEFORE, upgraded_card

SMALL: dict[str, Any] = {"text": 4, "align": 4, "hidden": 8, "latent": 2, "steps": 2, "patch": 3}
CASES: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, str]]] = {
    # what it is built with, keywords and components of tensors' names: now -> in format 1
    "align-draw": (SMALL | {"words": ("a",), "text_encoder": "bag"}, {"text_encoder": "reader"}, {}),
    "ebm": ({"width": 4, "data_noise": 0.1, "energy_l2": 0.2}, {"data_noise": "spread", "energy_l2": "calm"}, {}),
    "maf": ({"flows": 1, "widths": (4,), "data_std": 0.3, "degrees": "cyclic"}, {"data_std": "spread"}, {}),
    "pixel-cnn": (
        {"width": 4, "depth": 2, "condition": "label", "classes": 3},
        {},
        {"conditioning": "told", "proj_out": "leave"},
    ),
    "image-gpt": (
        {"width": 8, "depth": 1, "heads": 2, "colours": 5, "gelu": "tanh"},
        {},
        {"tokeniser": "pixels", "pos_embed": "place", "proj_in": "enter", "proj_out": "leave"},
    ),
}
CASES["align-draw"][2]["text_encoder"] = "reader"
CASES["align-draw"][2]["glimpse"] = "looker"


def as_format_1(system: System, keywords: dict[str, str], components: dict[str, str], folder: Path) -> None:
    """Write ``system`` and then rename all that had another name."""
    write_model(folder / "model", system, {})
    weights, facts = folder / "model" / "model.safetensors", folder / "model" / "model.json"
    old = {".".join(components.get(c, c) for c in k.split(".")): v for k, v in load_file(weights).items()}
    save_file(old, weights)
    card = json.loads(facts.read_text(encoding="utf-8"))
    del card["format"]
    card["config"] = {
        keywords.get(k, k): v for k, v in card["config"].items() if k not in BEFORE.get(system.card.id, {})
    }
    facts.write_text(json.dumps(card | {"sha256": file_hash(weights)}), encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_a_model_of_format_1_loads_bit_equal(name: str, tmp_path: Path) -> None:
    config, keywords, components = CASES[name]
    system = build(name, DataSpec(Shape(3, 8, 8)), config)
    as_format_1(system, keywords, components, tmp_path)
    loaded, _ = load_system(tmp_path)
    assert loaded.config == system.config
    assert loaded.state_dict().keys() == system.state_dict().keys()
    assert all(torch.equal(loaded.state_dict()[k], v) for k, v in system.state_dict().items())


def test_keywords_of_given_systems_are_those_of_their_own_system() -> None:
    inner = {"system": "maf", "config": {"shape": [1, 4, 4], "spread": 0.5, "moving": True}}
    card = upgraded_card({"system": "ebm", "config": {"shape": [1, 4, 4], "spread": 0.1, "features": inner}})
    given = card["config"].pop("features")
    assert card["config"] == {"shape": [1, 4, 4], "data_noise": 0.1}
    assert given["config"] == {"shape": [1, 4, 4], "data_std": 0.5, "ema": True, "degrees": "cyclic"}
    assert given["spec"] == card["spec"] and card["spec"]["shape"] == [1, 4, 4]


def test_former_names_of_a_sampler_are_taken_and_no_others() -> None:
    knob = MaskGIT.card.knob_table["sampler"]
    assert [knob.check(x) for x in ("sure", "spread", "halton")] == ["confidence", "halton", "halton"]
    assert knob.default == "confidence" and "sure" not in knob.range
    with pytest.raises(UnknownName, match="confidence"):
        knob.check("confident")
    assert dict(Sampling(sampler="sure")) == {"sampler": "sure"}  # records keep what was written


OLD_RUNS: dict[str, dict[str, Any]] = {  # what of a recipe's run.json had other names in format 1
    "align-draw": {"players": {"drawer": {"decay": "cosine"}}},
    "align-draw-bag": {"players": {"drawer": {"decay": "cosine"}}, "model": {"reader": "bag"}},
    "maf": {"model": {"spread": 0.5}},
    "ddpm": {"model": {"depth": 1, "solver": "dpmpp-2m"}},
    "maskgit": {"model": {"choice": 4.5}},
    "judge-plants": {"model": {"grain": 0.05}},
    "identity-faces": {"players": {"reader": {"lr": 1e-3}}},
    "digits": {"model": {"condition": "label", "patch": 1, "width": 128, "depth": 4, "heads": 4, "solver": "heun"}},
    "flow-matching": {
        "model": {"condition": "label", "network": "unet", "width": 32, "multiples": [1, 2, 2], "depth": 1}
        | {"attention": [4], "heads": 1, "times": "logit-normal", "steps": 6, "solver": "heun"},
        "tiny": {"width": 8, "multiples": [1, 2], "attention": [], "steps": 2},
    },
}
NOW: dict[str, dict[str, Any]] = {
    "align-draw": {"players": {"autoencoder": {"decay": "cosine"}}},
    "align-draw-bag": {"players": {"autoencoder": {"decay": "cosine"}}, "model": {"text_encoder": "bag"}},
    "maf": {"model": {"data_std": 0.5}},
    "ddpm": {"model": {"blocks": 1, "sampler": "dpmpp-2m"}},
    "maskgit": {"model": {"choice_temperature": 4.5}},
    "judge-plants": {"model": {"gaussian_noise": 0.05}},
    "identity-faces": {"players": {"network": {"lr": 1e-3}}},
    "digits": {
        "model": {"condition": "label", "sampler": "heun"}
        | {"network": {"kind": "dit", "patch": 1, "width": 128, "depth": 4, "heads": 4}}
    },
    "flow-matching": {},  # the recipe is as it was, but for its keys
}


def write_run(folder: Path, recipe: dict[str, Any], **facts: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({**facts, "recipe": recipe, "finished": False}), encoding="utf-8")


@pytest.mark.parametrize("name", OLD_RUNS)
def test_a_run_of_format_1_is_of_the_same_recipe(name: str, tmp_path: Path) -> None:
    today = load_recipe(name, ("train.iterations=7",))
    table = today.model_dump(mode="json")
    former = {now: old for old, now in FORMER.items()}
    old_train = {former.get(key, key): value for key, value in table["train"].items()}
    write_run(tmp_path, {**table, **OLD_RUNS[name], "train": old_train})
    found = recorded(tmp_path)
    assert found is not None and found.trains(today.model_copy(update=NOW[name]))
    write_run(tmp_path, {**table, **NOW[name]}, format=2)
    assert recorded(tmp_path) == Recorded(today.model_copy(update=NOW[name]), finished=False)


def test_the_captions_of_an_old_run_have_their_own_table(tmp_path: Path) -> None:
    flat = {"condition": "caption", "network": "uvit", "fine": 8, "text_width": 16, "text_length": 12, "sketch": 8}
    write_run(tmp_path, {**load_recipe("scenes").model_dump(mode="json"), "model": flat, "train": {"rounds": 3}})
    found = recorded(tmp_path)
    assert found is not None and found.recipe.train.iterations == 3
    assert found.recipe.model == {
        "condition": "caption",
        "network": {"kind": "uvit", "fine": 8},
        "text": {"width": 16, "length": 12, "sketch": 8},
    }


def test_training_goes_on_from_a_checkpoint_of_format_1(tmp_path: Path) -> None:
    """Of align-draw, whose player, tensors and key of the budget had other names."""
    sizes = tuple(f"model.{key}={value}" for key, value in {"text": 4, "align": 4, "hidden": 8, "steps": 2}.items())
    changes = ("size=8", "train.batch=4", "train.ema=0.0", "train.precision='float32'", "model.patch=3", *sizes)
    recipe = load_recipe("align-draw", (*changes, "train.iterations=4", "train.minutes=60"))
    recipe = recipe.model_copy(update={"players": {"autoencoder": {"lr": 1e-3}}})  # of no schedule
    whole = train(recipe, out=tmp_path / "whole")
    half = recipe.model_copy(update={"train": recipe.train.model_copy(update={"iterations": 2})})
    train(half, out=tmp_path / "run")

    old = recipe.model_dump(mode="json")
    old["train"]["rounds"] = old["train"].pop("iterations")
    old["players"] = {"drawer": old["players"]["autoencoder"]}
    write_run(tmp_path / "run", old)
    folder = tmp_path / "run" / "checkpoints" / "00000002"
    state, facts = load_file(folder / "state.safetensors"), json.loads((folder / "state.json").read_text("utf-8"))
    components = {"autoencoder": "drawer", **CASES["align-draw"][2]}

    def former(name: str) -> str:
        return "/".join(".".join(components.get(c, c) for c in part.split(".")) for part in name.split("/"))

    renamed = {former(k): v for k, v in state.items()}
    assert any(key.startswith("optimiser/drawer/") for key in renamed)
    save_file(renamed, folder / "state.safetensors")
    facts = {key: value for key, value in facts.items() if key != "format"} | {"stream": facts["batches"]}
    facts.pop("batches")
    facts["sha256"] = file_hash(folder / "state.safetensors")
    (folder / "state.json").write_text(json.dumps(facts), encoding="utf-8")

    train(recipe, out=tmp_path / "run")
    assert "resumed after iteration 2" in (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8")
    one, other = (load_file(tmp_path / x / "model" / "model.safetensors") for x in ("whole", "run"))
    assert whole.clock.round == 4 and one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_former_key_of_the_budget_is_named_in_the_error() -> None:
    with pytest.raises(UsageError, match=r"it is called train\.iterations now"):
        load_recipe("dcgan", ("train.rounds=3",))
