"""``import zeuxis as zx``: training, sampling and measuring from Python, in a script and in a notebook."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zeuxis as zx
from zeuxis.api.live import Drawing, Lines, notebook_display
from zeuxis.api.replay import replay
from zeuxis.api.runs import recorded
from zeuxis.cli import main
from zeuxis.errors import UnknownName, UsageError
from zeuxis.files import at_home
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, Stream
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
    wanted = {"load", "train", "resume", "sample", "evaluate", "compare", "add_systems", "StopTraining"}
    assert wanted <= set(dir(zx)) and set(zx.__all__) == wanted
    assert all(zx.__getattr__(name).__doc__ for name in wanted)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = zx.trian
    for name in zx.IN_API:
        with pytest.raises(AttributeError, match=f"from zeuxis.api.{name} import {name}"):
            getattr(zx, name)
        assert callable(getattr(import_module(f"zeuxis.api.{name}"), name))
    light = "import sys, zeuxis; dir(zeuxis); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", light], check=False).returncode == 0


def test_a_run_is_resumed_by_its_folder_with_its_pictures_given_again() -> None:
    run = trained()
    again = zx.resume(run.folder, ARRAY, iterations=5, quiet=True)
    assert (again.folder, again.clock.round, again.began) == (run.folder, 5, 3)
    assert zx.resume(run.folder, ARRAY, quiet=True).idle
    with pytest.raises(UsageError, match=r"give them again as data="):
        zx.resume(run.folder, iterations=7, quiet=True)
    with pytest.raises(UsageError, match=rf"did you mean {run.folder}\?"):
        zx.resume(run.folder.name)


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


@pytest.mark.parametrize(
    "budget", [{"iterations": 0}, {"iterations": -3}, {"iterations": 2.5}, {"minutes": 0}, {"minutes": float("nan")}]
)
def test_a_budget_that_would_never_end_is_refused(budget: dict[str, Any]) -> None:
    (key,) = budget
    with pytest.raises(UsageError, match=f"train.{key} is "):
        trained(**{"iterations": None, **budget})
    with pytest.raises(UsageError, match=f"train.{key} is "):
        zx.compare(["gaussian", "pca"], ARRAY, **budget)
    assert not Path("runs").exists()


def test_numbers_of_numpy_are_numbers_and_others_are_refused() -> None:
    run = trained(iterations=np.int64(2), seed=np.int64(7))
    assert type(run.recipe.train.iterations) is int and recorded(run.folder) is not None
    model = run.model
    picture = model.sample(np.int64(1), np.int64(3), temperature=np.float32(0.5))
    assert picture.records[0]["seed"] == 3 and picture.records[0]["sampling"] == {"temperature": 0.5}
    assert [type(value) for value in Sampling(a=np.float64(1), b=np.int8(2), c=True, d="x").values()] == [
        float, int, bool, str
    ]  # fmt: skip
    picture.save("one")  # its record is JSON
    for n, seed in ((1.0, 0), (1, None), (1, "1"), (1, 1.0)):
        with pytest.raises(UsageError, match="give a whole number"):
            model.sample(n, seed)  # type: ignore[arg-type]
    for batch in (0, -1):
        with pytest.raises(UsageError, match="1 picture at a time or more"):
            model.sample(1, batch=batch)


def test_one_may_be_given_where_several_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zeuxis.training.tracking.find_spec", find_spec)  # TensorBoard would follow it
    seen: list[Any] = []
    run = trained(callbacks=lambda clock, preview: seen.append(clock.round), track="none", device=torch.device("cpu"))
    assert 3 in seen and not (run.folder / "events").exists()
    model = zx.load(run.folder, torch.device("cpu"), torch.bfloat16)
    assert (model.device, model.precision) == ("cpu", "bfloat16")
    assert [f.name for f in zx.evaluate(model, ARRAY, metrics="psnr", samples=4)] == ["psnr"]
    labelled = {"image": ARRAY, "label": [k % 2 for k in range(len(ARRAY))]}
    found = zx.evaluate(model, labelled, metrics=["psnr", "linear-probe"], samples=6)  # in half precision too
    assert found.value("psnr") > 0 and 0 <= found.value("linear-probe") <= 1
    with pytest.raises(UsageError, match=r"settings are 'train.batch=3': give values by dotted name"):
        trained(settings="train.batch=3")
    with pytest.raises(UsageError, match="there is no such device: give cpu"):
        zx.load(run.folder, None)  # type: ignore[arg-type]


def test_both_bounds_of_a_budget_count_and_nothing_is_said_twice() -> None:
    run = trained(settings={**TINY, "train.minutes": 5.0})
    assert (run.recipe.train.iterations, run.recipe.train.minutes) == (3, 5.0)
    assert trained(out="other").recipe.train.minutes is None  # the recipe's own is replaced
    for more in ({"batch": 4, "key": "train.batch"}, {"iterations": 4, "key": "train.iterations"}):
        key = more.pop("key")
        with pytest.raises(UsageError, match=f"{key} is given twice"):
            trained(settings={**TINY, key: 8}, **more)


def test_a_home_is_meant_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    run = trained(out="~/run")
    assert run.folder == tmp_path / "home/run"
    zx.load("~/run").sample().save("~/drawn.png")
    assert (tmp_path / "home/drawn.png").is_file() and not Path("~").exists()
    assert trained(out="~/run").idle
    assert main(["sample", "~/run", "-n", "1", "--out=~/again.png"]) == 0 and (tmp_path / "home/again.png").is_file()
    assert at_home("~no-such-user/pictures") == Path("~no-such-user/pictures")


def drawn_within(change: Any) -> tuple[Any, Any]:
    """A training and a drawing within ``change``: what was learnt, and the picture."""
    with change:
        run = trained(fresh=True, out="within")
        return run.losses, run.model.sample(2, seed=1).tensor


@contextmanager
def default_type(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "change",
    [
        torch.no_grad(),
        torch.inference_mode(),
        torch.autocast("cpu", dtype=torch.bfloat16),
        default_type(torch.float64),
        default_type(torch.bfloat16),
        torch.device("meta"),
    ],
    ids=["no_grad", "inference_mode", "autocast", "float64", "bfloat16", "device"],
)
def test_what_a_program_has_set_of_torch_changes_nothing(change: Any) -> None:
    plain, picture = drawn_within(nullcontext())
    losses, other = drawn_within(change)
    assert losses == plain and torch.equal(other, picture) and other.dtype == torch.float32
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()


def test_a_stream_draws_the_same_whatever_the_default_type_is() -> None:
    def draws() -> list[torch.Tensor]:
        found = []
        for rng in (Stream(3), ImageRng([3, 5])):
            found += [rng.normal(2, 3), rng.uniform(2, 3), rng.integers(9, 2, 3)]
        return found

    plain = draws()
    with default_type(torch.float64), torch.device("meta"):
        other = draws()
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(plain, other, strict=True))


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
