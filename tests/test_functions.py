"""``import zeuxis as zx``: training, sampling and measuring from Python, in a script and in a notebook."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zeuxis as zx
from zeuxis.api.live import Drawing, Lines, notebook_display
from zeuxis.api.replay import replay
from zeuxis.errors import UnknownName, UsageError
from zeuxis.training.precision import precision_of

ARRAY = np.random.default_rng(0).integers(0, 256, (60, 12, 8, 3), dtype=np.uint8)  # (N, H, W, C)
TINY = {"model.latent": 4, "model.widths": [8, 8], "model.hidden": 16}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trained(**more: Any) -> Any:
    given = {"size": 16, "iterations": 3, "batch": 8, "settings": TINY, "quiet": True, **more}
    return zx.train("vae", data=given.pop("data", ARRAY), **given)


def test_what_the_package_shows() -> None:
    wanted = {"load", "train", "sample", "evaluate", "compare", "add_systems", "StopTraining"}
    assert wanted <= set(dir(zx)) and set(zx.__all__) == wanted
    assert all(zx.__getattr__(name).__doc__ for name in wanted)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = zx.trian
    light = "import sys, zeuxis; dir(zeuxis); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", light], check=False).returncode == 0


def test_an_array_is_trained_sampled_and_measured() -> None:
    run = trained()
    assert run.clock.round == 3 and run.folder.parent == Path("runs") and run.preview.is_file()
    assert run.losses and all(images > 0 for curve in run.losses.values() for images, _ in curve)
    model = run.model
    assert model.system.shape == (3, 16, 16)
    pictures = zx.sample(model, 5, seed=3)
    assert repr(pictures) == f"<5 pictures of 3x16x16 by {run.folder}>"
    assert len(pictures[1:3]) == 2 and torch.equal(pictures[1:3].tensor, pictures.tensor[1:3])
    assert pictures[1:3].records == pictures.records[1:3]
    assert isinstance(pictures[0], Image.Image) and len(pictures.pil()) == 5
    assert pictures.numpy().shape == (5, 16, 16, 3) and pictures.numpy().dtype == np.uint8
    figures = zx.evaluate(model, data=ARRAY, metrics=["psnr"], samples=6)
    assert figures.value("psnr") > 0 and "psnr" in repr(figures)
    with pytest.raises(UsageError, match="give them again as data="):
        zx.evaluate(run.folder, metrics=["psnr"])


def test_the_same_call_goes_on_and_other_pictures_do_not() -> None:
    def stop(clock: Any, preview: Path | None) -> None:
        if clock.round >= 2:
            raise zx.StopTraining

    # A report comes every half second and at the end; a training this short is stopped by its clock's patience.
    begun = trained(iterations=2000, callbacks=[stop], settings={**TINY, "train.preview_minutes": 60})
    assert begun.stopped == "callback" and begun.clock.round < 2000 and "stopped by callback" in repr(begun)
    again = trained(iterations=2000, callbacks=[stop], settings={**TINY, "train.preview_minutes": 60})
    assert again.folder == begun.folder and again.clock.round > begun.clock.round
    other = trained(data=ARRAY[:50], iterations=1)
    assert other.folder != begun.folder


def test_lists_datasets_and_wrong_things() -> None:
    pictures = [Image.fromarray(x) for x in ARRAY]
    assert trained(data=pictures).recipe.data == trained(data=ARRAY).recipe.data  # the same pictures have one name
    with pytest.raises(UnknownName, match="did you mean vae"):
        zx.train("vea", data=ARRAY)
    with pytest.raises(UsageError, match="latent"):
        trained(settings={"model.latnt": 3})
    with pytest.raises(UsageError, match="held at one shape"):
        trained(settings={**TINY, "fit": "crop"})
    with pytest.raises(UsageError, match="give data="):
        zx.train("classifier")


def test_a_comparison_of_own_pictures(tmp_path: Path) -> None:
    grey = np.concatenate([ARRAY[..., 0], ARRAY[::-1, ..., 1]])
    found = zx.compare(["gaussian", "pca"], grey[:, :8, :8], minutes=0.1, samples=10, out=tmp_path / "compared")
    assert [entry["recipe"] for entry in found["entries"]] == ["gaussian", "pca"]
    assert (tmp_path / "compared" / "index.html").is_file()


def test_a_script_shows_lines_and_a_notebook_draws(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert notebook_display() is None
    trained(quiet=False)
    assert "100% iteration 3" in capsys.readouterr().err
    shown: list[Any] = []

    class Handle:
        def update(self, what: Any) -> None:
            shown.append(what)

    def display(what: Any, display_id: bool = False) -> Handle:
        shown.append(what)
        return Handle()

    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    run = trained(quiet=False, data=ARRAY[:55], iterations=4)
    html = shown[-1]._repr_html_()
    assert "100%, iteration 4" in html and "data:image/png;base64," in html and "src='http" not in html
    assert "<svg" in run._repr_html_() or "iterations" in run._repr_html_()


def test_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 1.0, 14.9, 15.1, 16.0])
    monkeypatch.setattr("zeuxis.api.live.time.monotonic", lambda: next(now))
    lines, clock = Lines(), types.SimpleNamespace(progress=0.5, round=7, notes={"loss/vae": 1.25}, images=10)
    for _ in range(5):
        lines(clock, None)
    assert capsys.readouterr().err == " 50% iteration 7  vae 1.25\n" * 2
    assert Drawing(None).losses == {}


def test_a_model_in_half_precision_takes_half_the_memory_and_is_drawn_again(tmp_path: Path) -> None:
    full, half = zx.load("cvae"), zx.load("cvae", precision="bfloat16")
    sizes = [sum(p.numel() * p.element_size() for p in m.system.parameters()) for m in (full, half)]
    assert sizes[1] < 0.52 * sizes[0]
    wanted, found = full.sample(2, seed=1, label=3), half.sample(2, seed=1, label=3)
    assert 0 < (wanted.tensor - found.tensor).abs().max() < 0.1
    assert found.records[0]["dtype"] == "bfloat16" and wanted.records[0]["dtype"] == "float32"
    again, differs = replay(found.records[1])
    assert torch.equal(again.tensor[0], found.tensor[1]) and not differs
    with pytest.raises(UnknownName, match="did you mean bfloat16"):
        precision_of("bfloat", "cpu")
