"""Models whose cards and tensors have the names of format 1 load as those of now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from zeuxis.batch import Shape
from zeuxis.catalog.build import build
from zeuxis.catalog.weights import load_system
from zeuxis.errors import UnknownName
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.spec import DataSpec
from zeuxis.systems.autoregressive.maskgit import MaskGIT
from zeuxis.training.checkpoint import sha256, write_model
from zeuxis.training.legacy import upgraded_card

SMALL: dict[str, Any] = {"text": 4, "align": 4, "hidden": 8, "latent": 2, "steps": 2, "patch": 3}
CASES: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, str]]] = {
    # what it is built with, keywords and components of tensors' names: now -> in format 1
    "align-draw": (SMALL | {"words": ("a",), "text_encoder": "bag"}, {"text_encoder": "reader"}, {}),
    "ebm": ({"width": 4, "data_noise": 0.1, "energy_l2": 0.2}, {"data_noise": "spread", "energy_l2": "calm"}, {}),
    "maf": ({"flows": 1, "widths": (4,), "data_std": 0.3}, {"data_std": "spread"}, {}),
    "pixel-cnn": (
        {"width": 4, "depth": 2, "condition": "label", "classes": 3},
        {},
        {"conditioning": "told", "proj_out": "leave"},
    ),
    "image-gpt": (
        {"width": 8, "depth": 1, "heads": 2, "colours": 5},
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
    card["config"] = {keywords.get(k, k): v for k, v in card["config"].items()}
    facts.write_text(json.dumps(card | {"sha256": sha256(weights)}), encoding="utf-8")


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
    assert given["config"] == {"shape": [1, 4, 4], "data_std": 0.5, "ema": True}
    assert given["spec"] == card["spec"] and card["spec"]["shape"] == [1, 4, 4]


def test_former_names_of_a_sampler_are_taken_and_no_others() -> None:
    knob = MaskGIT.card.knob_table["sampler"]
    assert [knob.check(x) for x in ("sure", "spread", "halton")] == ["confidence", "halton", "halton"]
    assert knob.default == "confidence" and "sure" not in knob.range
    with pytest.raises(UnknownName, match="confidence"):
        knob.check("confident")
    assert dict(Sampling(sampler="sure")) == {"sampler": "sure"}  # records keep what was written
