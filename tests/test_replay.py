"""A picture is drawn again to the last bit, and another one is told from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from zeuxis.api import replay as module
from zeuxis.api.model import Model, load
from zeuxis.api.pictures import Pictures
from zeuxis.api.replay import Likeness, likeness, replay
from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.cli import main
from zeuxis.errors import DataError
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.provenance.record import read_record, save_png
from zeuxis.rng import ImageRng

CARD = {"sha256": "00", "recipe": None, "data": "toy"}


class Rounded(System):
    """Draws grey pictures whose values depend on the batch and on the row, as rounding does, only more."""

    card = Card("rounded", title="Rounded", family="test", year=2000, paper="", verbs={"sample"})

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = Shape(*shape)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        rows = torch.arange(len(rng)).view(-1, 1, 1, 1)
        return rng.uniform(len(rng), *self.shape) / 2 + 0.01 * len(rng) + 0.02 * rows - 0.5


@pytest.fixture
def rounded(monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model whose pictures are the same only where batch and row are."""
    model = Model("rounded", Rounded(Shape(1, 4, 4)), CARD)
    monkeypatch.setattr(module, "load", lambda name, device, precision: model)
    return model


@pytest.mark.parametrize(("n", "batch"), [(1, None), (7, None), (7, 7), (7, 3), (20, None)])
def test_a_picture_of_any_batch_is_drawn_again_to_the_last_bit(rounded: Model, n: int, batch: int | None) -> None:
    made = rounded.sample(n, seed=3, batch=batch)
    for k in {0, n // 2, n - 1}:
        again, differs = replay(made.records[k])
        assert differs == [] and torch.equal(again.tensor[0], made.tensor[k]) and again.records[0] == made.records[k]


def test_shipped_weights_draw_a_picture_of_seven_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seven = load("cvae").sample(7, seed=5)
    files = seven.save(tmp_path / "seven")
    for file in (files[0], files[6]):
        assert main(["sample", "--replay", str(file), "--out", str(tmp_path / "again.png")]) == 0
        assert capsys.readouterr().out.endswith(": the same, pixel for pixel\n")
    page, again = seven.save_sheet(tmp_path / "sheet.png"), tmp_path / "again.png"
    assert main(["sample", "--replay", str(page), "--out", str(again)]) == 0
    assert f"again.png: the first that {page} shows, which is a page" in capsys.readouterr().out
    assert likeness(Image.open(again), Image.open(files[0])).identical
    assert main(["sample", "--replay", str(page), "--out", str(again), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same"] is None
    record, (shown,) = read_record(files[6]), load("cvae").sample(1, seed=99)
    save_png(shown, tmp_path / "forged.png", record)
    assert main(["sample", "--replay", str(tmp_path / "forged.png"), "--out", str(tmp_path / "again.png")]) == 0
    assert ": another picture: " in capsys.readouterr().out


def test_a_model_that_was_moved_is_named_beside_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "one.png"
    made = load("cvae").sample(1, seed=4, label=3)
    record = {**made.records[0], "model": str(tmp_path / "runs" / "moved")}
    save_png(made[0], picture, record)
    assert main(["sample", "--replay", str(picture)]) == 2
    assert "zeuxis sample FOLDER --replay PICTURE.png" in capsys.readouterr().err
    assert main(["sample", "cvae", "--replay", str(picture), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same"]


def test_what_is_otherwise_than_it_was_is_said(rounded: Model) -> None:
    record = rounded.sample(2, seed=3, batch=2).records[1]

    def said(**changes: Any) -> Sequence[str]:
        return replay({**record, "drawn": {**record["drawn"], **changes}})[1]

    assert said() == []
    assert said(instructions="of old") == [f"the processor's instructions were of old, are {module.instruction_set()}"]
    assert said(threads=10**6)[0].startswith("threads were 1000000, are 1: this machine has ")
    assert said(batch=10**6) == ["it was drawn in a batch of 1000000, is drawn alone"]


def test_it_is_drawn_by_as_many_threads_as_then_and_they_are_put_back(
    rounded: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = rounded.sample(1, seed=3).records[0]
    monkeypatch.setattr(module.os, "cpu_count", lambda: 3)
    before = torch.get_num_threads()
    again, differs = replay({**record, "drawn": {**record["drawn"], "threads": 3}})
    assert differs == [] and again.records[0]["drawn"]["threads"] == 3 and torch.get_num_threads() == before


def test_a_record_of_an_older_version_is_drawn_alone(rounded: Model) -> None:
    alone = rounded.sample(1, seed=4)
    old = {key: held for key, held in alone.records[0].items() if key != "drawn"}
    again, differs = replay(old)
    assert differs == [] and torch.equal(again.tensor, alone.tensor)


@pytest.mark.parametrize("drawn", ["alone", {"batch": 1}, {"batch": 2, "row": 2, "threads": 1, "instructions": "AVX2"}])
def test_a_record_that_no_draw_made_is_damaged(rounded: Model, tmp_path: Path, drawn: object) -> None:
    made = rounded.sample(1)
    Pictures(made.tensor, ({**made.records[0], "drawn": drawn},)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="damaged: 'drawn' is "):
        read_record(tmp_path / "a.png")


def test_how_far_two_pictures_are_apart() -> None:
    one = Image.new("RGB", (4, 3), (10, 20, 30))
    near, far = one.copy(), one.copy()
    near.putpixel((1, 2), (10, 22, 29))
    far.putpixel((0, 0), (13, 20, 30))
    assert likeness(one, one.copy()) == Likeness(0, 0, 36) and str(likeness(one, one)) == "the same, pixel for pixel"
    assert likeness(one, near) == Likeness(2, 2, 36) and likeness(one, near).same and not likeness(one, near).identical
    assert str(likeness(one, near)) == "the same within rounding: 2 of 36 values differ, by at most 2 of 255 levels"
    assert str(likeness(far, one)) == "another picture: 1 of 36 values differ, by at most 3 of 255 levels"
    assert not likeness(one, one.convert("L")).same and not likeness(one, one.resize((3, 4))).same
