"""What follows a training beside its log: figures, held-out ones among them, and previews; and its animation."""

from __future__ import annotations

import json
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zeuxis.api.animation import animation
from zeuxis.api.runs import train
from zeuxis.cli import main
from zeuxis.errors import DataError, UsageError
from zeuxis.provenance.record import SOURCE_TYPE, XMP, record, save_png
from zeuxis.recipe import load_recipe
from zeuxis.training.tracking import TRACKERS, check_trackers, trackers

SMALL = ('data="digits"', "size=8", "model.network.width=8", "train.iterations=2", "train.batch=4", "sample.steps=2")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test works in a folder of its own, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("zeuxis.training.tracking.find_spec", find_spec)  # elsewhere there is no TensorBoard


class Followed:
    """A tracker that remembers."""

    def __init__(self, folder: Path, after: int) -> None:
        self.after = after
        self.figures: dict[str, list[int]] = {}
        self.pictures: list[tuple[int, Path]] = []
        self.closed = 0

    def scalars(self, round, values):
        assert all(isinstance(value, float) for value in values.values())
        for name in values:
            self.figures.setdefault(name, []).append(round)

    def picture(self, round, path):
        assert path.is_file()
        self.pictures.append((round, path))

    def close(self):
        self.closed += 1


def test_a_tracker_gets_figures_held_out_ones_and_previews(monkeypatch):
    made: list[Followed] = []

    def followed(folder: Path, after: int) -> Followed:
        made.append(Followed(folder, after))
        return made[-1]

    monkeypatch.setitem(TRACKERS, "tensorboard", followed)  # type: ignore[arg-type]
    run = train(load_recipe("flow-matching", SMALL), out=Path("r"), track=["tensorboard"])
    (found,) = made
    assert {"loss/network", "held-out/mean"} <= set(found.figures) and found.closed == 1
    assert found.after == 0 and found.pictures == [
        (0, run.folder / "previews/00000000.png"),
        (2, run.folder / "previews/00000002.png"),
    ]


def test_tensorboard_gets_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save("sheet.png")
    (board,) = trackers(tmp_path, ["tensorboard"])
    board.scalars(3, {"loss/critic": 0.5})
    board.picture(3, Path("sheet.png"))
    board.close()
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss/critic")] == [(3, 0.5)]
    assert [e.step for e in events.Images("preview")] == [3]


def test_rounds_that_are_played_again_are_shown_once(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for after, rounds in ((0, (1, 2, 3, 4)), (2, (3, 5))):  # killed after 4, gone on with from the checkpoint of 2
        (board,) = trackers(tmp_path, ["tensorboard"], after)
        for round in rounds:
            board.scalars(round, {"loss/critic": after + round / 10})
        board.close()
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [e.step for e in events.Scalars("loss/critic")] == [1, 2, 3, 5]
    assert [e.value for e in events.Scalars("loss/critic")] == pytest.approx([0.1, 0.2, 2.3, 2.5])


def test_sheets_of_rounds_that_are_played_again_go():
    recipe = load_recipe("flow-matching", SMALL)
    run = train(recipe, out=Path("r"), track=["none"])
    previews = run.folder / "previews"
    for name in ("00000009.png", "mine.png"):
        (previews / name).write_bytes((previews / "00000002.png").read_bytes())
    further = recipe.model_copy(update={"train": recipe.train.model_copy(update={"iterations": 3})})
    train(further, out=Path("r"), longer=True, track=["none"])
    assert sorted(p.name for p in previews.glob("*")) == ["00000000.png", "00000002.png", "00000003.png", "mine.png"]


def test_weights_and_biases_is_behind_the_same_writer(tmp_path, monkeypatch):
    calls: list[tuple[object, ...]] = []
    run = types.SimpleNamespace(
        id="a1", log=lambda values, step: calls.append(("log", values, step)), finish=lambda: calls.append(("finish",))
    )
    module = types.ModuleType("wandb")
    inits: list[dict[str, object]] = []
    module.init = lambda **given: calls.append(("init", given["project"], given["name"])) or inits.append(given) or run  # type: ignore
    module.Image = lambda path: f"picture {path}"  # type: ignore
    monkeypatch.setitem(sys.modules, "wandb", module)
    (tmp_path / "r").mkdir()
    (followed,) = trackers(tmp_path / "r", ["wandb"])
    followed.scalars(1, {"loss": 0.5})
    followed.picture(2, Path("a.png"))
    followed.close()
    assert calls[0] == ("init", "zeuxis", "r") and calls[-1] == ("finish",)
    trackers(tmp_path / "r", ["wandb"], 2)  # it goes on
    trackers(tmp_path / "r", ["wandb"])  # it begins anew
    assert [given.get("id") for given in inits] == [None, "a1", None] and inits[1]["resume"] == "allow"
    assert calls[1:3] == [("log", {"loss": 0.5}, 1), ("log", {"preview": "picture a.png"}, 2)]


def test_tensorboard_follows_unasked_where_it_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr("zeuxis.training.tracking.find_spec", lambda name: name == "tensorboard")
    monkeypatch.setitem(TRACKERS, "tensorboard", Followed)  # type: ignore[arg-type]
    (found,) = trackers(tmp_path, after=3)
    assert isinstance(found, Followed) and found.after == 3 and trackers(tmp_path, ["none"]) == []


def test_nothing_is_tracked_by_what_was_not_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("zeuxis.training.tracking.find_spec", lambda name: None)
    assert trackers(tmp_path) == [] and trackers(tmp_path, ["none"]) == []
    with pytest.raises(UsageError, match="pip install wandb"):
        check_trackers(["wandb"])
    with pytest.raises(UsageError, match="did you mean wandb"):
        check_trackers(["wandbb"])
    assert main(["train", "gaussian", "--data", "digits", "--track", "wandb"]) == 2 and not Path("runs").exists()


# -- the animation ------------------------------------------------------------------------------------


def sheets(folder: str, *sizes: int) -> Path:
    made = record(
        model=folder, system="dcgan", weights_sha256=None, recipe="dcgan", data="digits", seed=0, sampling={},
        condition={}, device="cpu",
    )  # fmt: skip
    for k, size in enumerate(sizes):
        save_png(Image.new("RGB", (size, size), (80 * k, 0, 0)), Path(folder) / "previews" / f"{k:08d}.png", made)
    return Path(folder)


def test_the_previews_of_a_run_are_a_moving_picture(capsys):
    sheets("r", 20, 20, 20)
    assert main(["info", "r", "--animation", "r.webp", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": "r", "previews": 3, "animation": "r.webp"}
    with Image.open("r.webp") as moving:
        assert moving.n_frames == 3 and moving.size == (20, 20) and moving.info["loop"] == 0
        assert moving.info["xmp"] == (XMP % SOURCE_TYPE).encode(), "it says that it is synthetic"
        comment = moving.getexif().get_ifd(0x8769)[0x9286]  # UserComment lies in EXIF's own block, after its characters
        assert comment[:8] == b"ASCII\0\0\0" and json.loads(comment[8:])["system"] == "dcgan"
        assert "synthesised" in moving.getexif()[0x010E]


def test_what_cannot_move_is_refused():
    with pytest.raises(UsageError, match=r"give r\.webp"):
        animation(sheets("r", 20), Path("r.gif"))
    with pytest.raises(UsageError, match="no previews"):
        animation(Path("nowhere"), Path("r.webp"))
    with pytest.raises(DataError, match="differ in size"):
        animation(sheets("several", 20, 30), Path("r.webp"))
    assert not list(Path().glob("*.webp"))
