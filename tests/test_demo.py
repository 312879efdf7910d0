"""The demo: a strip of every family, a model trained on view, and an end at good pictures rather than at noise."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

import zeuxis.api.demo as shown
from zeuxis.api.demo import WholeBar, demo
from zeuxis.api.strips import STRIPS, segmented
from zeuxis.catalog.listing import entries, packaged, results
from zeuxis.catalog.weights import shipped
from zeuxis.recipe import load_recipe, recipe_paths

TINY = (
    "model.network.width=16", "model.network.depth=1", "model.network.heads=2", "train.batch=8", "sample.steps=2",
)  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo of seconds: two strips, a tiny network, few pictures."""
    monkeypatch.setattr(shown, "STRIPS", [s for s in STRIPS if s.model in ("turtle", "rbm")])
    monkeypatch.setattr(shown, "LOOKED_AT", (*TINY, "train.iterations=6", "train.save_minutes=1e-9"))
    monkeypatch.setattr(shown, "SAMPLES", 40)


def test_every_family_has_a_strip_of_what_is_in_the_package() -> None:
    families = {strip.family for strip in STRIPS}
    generators = {name for name, entry in entries().items() if not entry.card.learns}
    here = {*shipped(), *results()}  # what has weights or a measured sheet: those of a family without are not shown yet
    systems = {load_recipe(name).system for name in here if name in recipe_paths()} | generators
    assert families >= {packaged()[name].card.family for name in systems}
    for strip in STRIPS:
        assert strip.model in {*shipped(), *generators, *results()}, strip.model


def test_a_strip_of_classes_has_the_pictures_above(tmp_path: Path) -> None:
    path = segmented("segmenter-scenes", "scenes", n=2)(tmp_path)
    with Image.open(path) as found:
        assert found.size == (2 + 2 * 66, 2 + 2 * 66)
        sky = found.convert("RGB").getpixel((10, 70))  # the first pixels of the first map
    assert sky == (44, 62, 96), "scenes begin with the sky"


def test_the_page_is_there_from_the_first_strip_and_ends_with_figures(small: None, tmp_path: Path) -> None:
    fractions: list[float | None] = []
    refreshed: list[bool] = []

    def report(message: str, fraction: float | None) -> None:
        fractions.append(fraction)
        if (tmp_path / "index.html").is_file():
            refreshed.append("http-equiv=refresh" in (tmp_path / "index.html").read_text())

    html = demo(tmp_path, report).read_text()
    assert "That is all of its 6 iterations." in html and "http-equiv=refresh" not in html and all(refreshed)
    known = [f for f in fractions if f is not None]
    assert known == sorted(known) and known[0] > 0 and known[-1] < 1
    for name in re.findall(r"<img src='([^']+)'", html):
        assert (tmp_path / name).is_file(), name
    assert "procedural: turtle" in html and "energy: rbm" in html and "accuracy" in html


def test_where_time_runs_out_it_goes_on_until_the_pictures_are_good(
    small: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shown, "LOOKED_AT", (*TINY, "train.iterations=5000", "train.save_minutes=1e-9"))
    monkeypatch.setattr(shown, "PATIENCE", 0.0)
    found = iter([0.1, 0.6, 0.97])
    monkeypatch.setattr(shown, "preview_accuracy", lambda model, recipe: next(found))
    html = demo(tmp_path).read_text()
    stopped = re.search(r"It was stopped after ([\d,]+) of 5,000 iterations, for time ran out and 97% of 40", html)
    assert stopped is not None and int(stopped[1].replace(",", "")) < 5000
    assert next(found, None) is None, "it went on at 10 % and at 60 %"
    run = tmp_path / "runs" / "digits-0"
    assert json.loads((run / "run.json").read_text())["finished"], "another demo begins another"


def test_the_bar_is_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    now, shares = [100.0], list[float | None]()
    monkeypatch.setattr("zeuxis.api.demo.time.monotonic", lambda: now[0])
    bar = WholeBar(lambda message, fraction: shares.append(fraction), start=100.0)
    for second, remaining in ((110.0, None), (120.0, 80.0), (125.0, 175.0), (190.0, 10.0)):
        now[0] = second
        bar("", remaining)
    assert shares == [None, 0.2, 0.2, 0.9], "never back"
