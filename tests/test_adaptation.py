"""What translation is worth to a classifier with labels on one side alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zeuxis.api import adaptation, classifiers
from zeuxis.api.evaluate import evaluate
from zeuxis.api.model import Model, load
from zeuxis.batch import Condition
from zeuxis.catalog.build import build
from zeuxis.data.library import open_source
from zeuxis.errors import Unsupported
from zeuxis.knobs import Sampling
from zeuxis.training.checkpoint import write_model

TINY = {"ngf": 4, "blocks": 1, "ndf": 4, "layers": 1, "pool": 4}


@pytest.fixture
def collections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two classes, a light half left or right on dark ground; the second collection has light and dark changed."""
    monkeypatch.setattr(classifiers, "TRAIN", classifiers.TRAIN.model_copy(update={"iterations": 30, "batch": 16}))
    monkeypatch.setattr(adaptation, "LEARNT", 48)
    random = np.random.default_rng(0)
    for side, flipped in (("dark", False), ("light", True)):
        for label, name in enumerate(("left", "right")):
            (tmp_path / side / name).mkdir(parents=True)
            for k in range(60):
                pixels = random.integers(0, 60, (16, 16), dtype=np.uint8)
                pixels[:, 8 * label : 8 * label + 8] += 180
                Image.fromarray(255 - pixels if flipped else pixels).save(tmp_path / side / name / f"{k}.png")
    return f"{tmp_path / 'dark'} -> {tmp_path / 'light'}"


def model_of(data: str, folder: Path) -> Model:
    write_model(
        folder / "model", build("cyclegan", open_source(data, 16).spec, TINY).eval(), {"data": data, "size": 16}
    )
    return load(folder)


@pytest.mark.parametrize(("sign", "taught"), [(-1, True), (1, False)])
def test_a_right_translation_teaches_what_the_source_alone_does_not(
    collections: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: int, taught: bool
) -> None:
    def translated(model: Model, condition: Condition, seeds: Sequence[int], how: Sampling) -> Tensor:
        assert condition.source is not None
        return sign * condition.source

    monkeypatch.setattr(Model, "draw", translated)
    value, untranslated, own = evaluate(model_of(collections, tmp_path), metrics=["domain-adaptation"], samples=20)
    assert [f.name for f in (untranslated, own)] == [
        "domain-adaptation/untranslated", "domain-adaptation/target's own labels",
    ]  # fmt: skip
    assert untranslated.value < 0.2 and own.value > 0.9 and value.samples == 12  # there are no more held-out ones
    assert value.value > 0.9 if taught else value.value < 0.2


def test_what_it_needs_is_said(collections: str, tmp_path: Path) -> None:
    dark, light = collections.split(" -> ")
    model = model_of(collections, tmp_path / "m")
    with pytest.raises(Unsupported, match="labels of the same classes, and 'dark' has left, right and 'left' has none"):
        evaluate(model, data=f"{dark} -> {light}/left", metrics=["domain-adaptation"], samples=4)
    with pytest.raises(Unsupported, match="two collections without pairs"):
        evaluate(model, data=f"{dark} | edges", metrics=["domain-adaptation"], samples=4)
    plain = build("gaussian", open_source(dark, 16).spec, {})
    plain.fit([open_source(dark, 16).batch(torch.arange(20))])
    write_model(tmp_path / "plain" / "model", plain, {"data": dark, "size": 16})
    with pytest.raises(Unsupported, match="translates no pictures: give a model such as cyclegan"):
        evaluate(load(tmp_path / "plain"), metrics=["domain-adaptation"], samples=4)


def test_day_and_night_have_labels_of_the_same_classes() -> None:
    both = open_source("scenes-day-night", 16).collections()
    assert both is not None and both[0].spec.class_names == both[1].spec.class_names != ()
