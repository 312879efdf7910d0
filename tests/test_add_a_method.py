"""The method that docs/add-a-method.md adds is taken out of the page, added, trained and measured."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import zeuxis.systems.autoencoder as family
from zeuxis import recipe
from zeuxis.api.evaluate import evaluate
from zeuxis.api.model import load
from zeuxis.api.runs import train
from zeuxis.catalog import listing
from zeuxis.catalog.assemble import build_for
from zeuxis.catalog.listing import entries
from zeuxis.data.library import open_source
from zeuxis.recipe import load_recipe

PAGE = Path(__file__).parent.parent / "docs" / "add-a-method.md"
FILES = re.compile(r"^`src/zeuxis/(\S+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A house that holds what the page says and nothing else."""
    written = FILES.findall(PAGE.read_text(encoding="utf-8"))
    assert [Path(name).name for name, _ in written] == ["denoising.py", "denoising.toml"]
    for name, text in written:
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    module = f"{family.__name__}.denoising"
    monkeypatch.setattr(listing, "SYSTEMS", tmp_path / "systems")
    monkeypatch.setattr(recipe, "RECIPES", tmp_path / "recipes")
    monkeypatch.setattr(family, "__path__", [str(tmp_path / "systems" / "autoencoder"), *family.__path__])
    monkeypatch.setattr("zeuxis.training.log.find_spec", lambda name: None)  # importing TensorBoard takes seconds
    monkeypatch.delitem(sys.modules, module, raising=False)
    caches = (listing.entries, recipe.recipe_paths)
    for cached in caches:
        cached.cache_clear()
    yield
    sys.modules.pop(module, None)
    for cached in caches:
        cached.cache_clear()


@pytest.mark.usefixtures("house")
def test_one_file_and_one_recipe_are_a_method(tmp_path: Path) -> None:
    assert set(entries()) == {"denoising"}
    plan = load_recipe("denoising", ("train.rounds=2", "train.batch=8"))
    run = train(plan, out=tmp_path / "run")
    assert (run.clock.round, run.stopped) == (2, None)
    assert "loss/autoencoder" in run.clock.notes
    assert len(list((run.folder / "previews").glob("*.png"))) == 2  # before and after

    model = load(run.folder)
    start = build_for(plan, open_source("digits", 8)).state_dict()
    assert any(not torch.equal(start[name], value) for name, value in model.system.state_dict().items())
    with torch.inference_mode():
        picture = model.system.decode(model.system.encode(torch.zeros(3, 1, 8, 8)))
    assert picture.shape == (3, 1, 8, 8) and picture.abs().max() <= 1
    (figure,) = evaluate(model, metrics=("psnr",), samples=16)
    assert figure.samples == 16 and figure.value > 0
