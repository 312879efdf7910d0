"""A sweep: one knob of some models, several values, the same seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zeuxis.api.model import Model
from zeuxis.api.sweep import SHOWN, Over, sweep
from zeuxis.catalog.build import build
from zeuxis.cli import main
from zeuxis.data.library import open_source
from zeuxis.errors import Unsupported, UsageError
from zeuxis.fetching import Unasked
from zeuxis.provenance.record import read_record
from zeuxis.spec import DataSpec, Shape

NETWORK = {"kind": "unet", "width": 8, "multiples": (1, 2), "blocks": 1, "attention": ()}


def model(name: str = "tiny") -> Model:
    spec = DataSpec(Shape(1, 8, 8), class_names=tuple("0123456789"))
    system = build("flow-matching", spec, {"condition": "label", "network": NETWORK, "steps": 2})
    return Model(
        name, system.eval(), {"data": "digits", "config": system.config, "sha256": "0" * 64, "recipe": "digits"}
    )


def test_every_value_is_measured_and_drawn_from_the_same_seeds(tmp_path: Path) -> None:
    found = sweep(
        [model("one"), model("two")], [Over.parse("steps=1,2")], metrics=("precision", "recall"), samples=12,
        features="pixels-8", seed=5, out=tmp_path,
    )  # fmt: skip
    assert json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))["seed"] == 5
    for entry in found["entries"]:
        assert [point["value"] for point in entry["points"]] == [1, 2]
        for point in entry["points"]:
            assert {"precision", "recall"} <= {figure["name"] for figure in point["figures"]}
            record = read_record(tmp_path / point["sheet"])
            assert record is not None and "synthetic" in json.dumps(record).lower()
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "precision against recall" in page and page.count("<svg") >= 2 and "two-steps-2.png" in page


def test_a_sheet_has_as_many_pictures_as_there_are_held_out_conditions(tmp_path: Path) -> None:
    folder, draw = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for k in range(40):
        Image.fromarray(draw.integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / f"{k:02}.png")
    (folder / "dataset.json").write_text(json.dumps({"labels": [[f"{k:02}.png", k % 10] for k in range(40)]}))
    few = len(open_source(folder, 8, "test"))
    found = sweep([model()], [Over.parse("steps=1,2")], data=str(folder), metrics=("frechet",), samples=few,
                  features="pixels-8", out=tmp_path / "sweep")  # fmt: skip
    for point in found["entries"][0]["points"]:
        record = read_record(tmp_path / "sweep" / point["sheet"])
        assert record is not None and record["sheet_of"] == few < SHOWN


def test_data_that_only_a_card_names_are_not_fetched_for_sheets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZEUXIS_DATA", raising=False)
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    one = model()
    one.card["data"] = "fashion-mnist"
    with pytest.raises(Unasked, match="the card of 'tiny' names 'fashion-mnist'"):
        sweep([one], [Over.parse("steps=1,2")], out=tmp_path / "sweep")
    del one.card["data"]  # as of a network that was converted
    with pytest.raises(UsageError, match="'tiny' does not say what data it was trained on: give --data"):
        sweep([one], [Over.parse("steps=1,2")], out=tmp_path / "sweep")


@pytest.mark.parametrize("text", ["guidance", "guidance=", "guidance=1", "=1,2", "guidance=2,2"])
def test_a_knob_has_two_values_that_differ(text: str) -> None:
    with pytest.raises(UsageError, match="guidance=1,2,4"):
        Over.parse(text)


def test_what_a_model_lacks_is_said_before_anything_is_drawn(tmp_path: Path, capsys) -> None:
    with pytest.raises(Unsupported, match=r"none of the knobs scale, churned; it has .*guidance"):
        sweep([model()], [Over.parse("scale=1,2"), Over.parse("churned=1,2")], out=tmp_path)
    with pytest.raises(UsageError, match="a whole number from 1"):
        sweep([model()], [Over.parse("steps=0,2")], out=tmp_path)
    with pytest.raises(UsageError, match="named twice"):
        sweep([model(), model()], [Over.parse("steps=1,2")], out=tmp_path)
    assert not list(tmp_path.iterdir())
    assert main(["sweep", "pixel-cnn", "--over", "guidance=1,2"]) == 2
    assert "has none of the knobs guidance" in capsys.readouterr().err
