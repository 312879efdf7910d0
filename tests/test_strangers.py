"""A few hostile files of every kind; tools/hostile.py tries hundreds. And what single ones must be told."""

from __future__ import annotations

import json
import shutil
import sys
from mmap import mmap
from pathlib import Path
from typing import Any

import pytest
from conftest import NetworkRefused
from PIL import Image
from strangers import KINDS, attempts, base_model, memory

import zeuxis as zx
from zeuxis.api import prior
from zeuxis.api.neighbours import neighbours
from zeuxis.api.replay import replay
from zeuxis.catalog.weights import load_system, shipped
from zeuxis.cli import main
from zeuxis.errors import DataError, UsageError, ZeuxisError
from zeuxis.fetching import Unasked, named_by, require_asked
from zeuxis.provenance.record import read_record, record, save_png

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and signals of POSIX")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ZEUXIS_DATA", raising=False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_strangers_do_no_harm(kind: str, models: Path, tmp_path: Path) -> None:
    faults = []
    for number, trial in enumerate(attempts(kind, 3, 7, models)):
        (home := tmp_path / str(number)).mkdir()
        faults += [f"{trial.name}: {fault}" for fault in trial.run(home)]
    assert faults == []


def test_a_fault_is_noticed(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial itself: a command that writes where it may not, prints a colour and crashes is found out."""

    def harmful(args: object) -> int:
        (tmp_path / "home" / "elsewhere").write_text("x")
        sys.stdout.write("\x1b[31m")
        sys.stderr.write("a mistake in Zeuxis")
        return 1

    monkeypatch.setattr("strangers.main", harmful)
    (tmp_path / "home").mkdir()
    found = " ".join(next(iter(attempts("record", 1, 0, models))).run(tmp_path / "home"))
    assert "wrote outside" in found and "terminal obeys" in found and "crashed" in found and "files outside" in found


# -- a card asks for no more than its file fills ------------------------------------------------------


def changed(tmp_path: Path, **config: Any) -> Path:
    folder = tmp_path / "m"
    shutil.copytree(shipped()["cvae"], folder)
    card = json.loads((folder / "model.json").read_text())
    card["config"] |= config
    (folder / "model.json").write_text(json.dumps(card))
    return folder


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"hidden": 1_500_000}, r"asks for a tensor of \(1500000, 2048\), and its file holds none so large"),
        ({"widths": [1_500_000, 8]}, "asks for a tensor of"),
        ({"widths": [1] * 30_000}, "asks for more work|does not fit|no model|cannot be built"),
        ({"latent": 2**40}, "has latent 1.1e\\+12: at most 4,194,304 is taken"),
        ({"hidden": -1}, "the card in .* describes no model that can be built"),
        ({"hidden": {"given": {"model": "a\0b", "near": "a\0b", "sha256": "0"}}}, "which is not there"),
    ],
)
def test_a_card_that_asks_for_too_much_is_refused_before_it_is_taken(
    config: dict[str, Any], says: str, tmp_path: Path
) -> None:
    folder = changed(tmp_path, **config)
    with memory() as growth:
        with pytest.raises(ZeuxisError, match=says):
            load_system(folder)
        assert growth() < 300 << 20  # of 12 GB that were asked for


@pytest.mark.skipif(sys.platform != "linux", reason="other systems forget no peak")
def test_memory_that_was_taken_and_given_back_is_seen_after_more_was_taken_before() -> None:
    def growth_of(size: int) -> int:
        with memory() as growth:
            with mmap(-1, size) as taken:  # new pages: what the heap gives may be those that were there before
                taken.write(b"x" * size)
            return growth()

    for size in (64 << 20, 32 << 20, 4 << 10):  # a system may page out what is cold meanwhile, and growth then hides
        assert any(size - (8 << 20) < growth_of(size) < 2 * size + (16 << 20) for _ in range(5))


# -- nothing that a file says is fetched or replaced --------------------------------------------------


@pytest.mark.parametrize("data", ["fashion-mnist", "hub:someone/birds", "hub:someone/birds@" + "0" * 40])
def test_what_only_a_card_names_is_not_fetched(data: str, models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "run", tmp_path / "m")
    path = tmp_path / "m" / "model" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data": data}))
    pytest.importorskip("pyarrow")
    with pytest.raises(Unasked, match=rf"the card of .* names .*, and nothing is fetched .*: --data {data} does"):
        zx.evaluate(tmp_path / "m", samples=4)
    with pytest.raises(Unasked, match=rf"the card of .* names .*, and nothing is fetched .*: --data {data} does"):
        neighbours(zx.load(tmp_path / "m"), n=1, k=1)
    with pytest.raises((DataError, UsageError, NetworkRefused)) as asked:  # by name it is: the tests' network refuses
        zx.evaluate(tmp_path / "m", data=data, samples=4)
    assert not isinstance(asked.value, Unasked)


def test_a_strangers_recipe_fetches_nothing_unless_its_data_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text('system = "gaussian"\nabout = "a"\ndata = "fashion-mnist"\n')
    for line in (["train", "r.toml"], ["train", "r.toml", "--dry-run"]):
        assert main(line) == 1
        assert "the recipe r.toml names 'fashion-mnist', which is not on this machine" in capsys.readouterr().err
    assert main(["train", "r.toml", "--data", "fashion-mnist"]) != 0
    assert "names 'fashion-mnist'" not in capsys.readouterr().err


def test_a_record_fits_no_prior(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = tmp_path / "net"
    shutil.copytree(models / "net", net)
    zx.load(net).with_prior("gaussian", "digits")

    def priors() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in sorted((net / "priors").rglob("*")) if p.is_file()}

    kept = priors()
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(24):
        Image.new("L", (8, 8), 9 * k).save(folder / f"{k}.png")
    made = record(
        model=str(net), system="autoencoder", weights_sha256="0", recipe=None, data=None, seed=0, sampling={},
        condition={}, device="cpu",
    )  # fmt: skip
    replay({**made, "prior": {"kind": "gaussian", "sha256": "0", "data": "digits"}})  # which is kept
    replay({**made, "prior": {"kind": "normal", "sha256": None, "data": None}})  # for which nothing is fitted
    assert priors() == kept

    def fails(*_: object, **__: object) -> None:
        raise AssertionError("something was fitted")

    monkeypatch.setattr(prior, "_fit", fails)
    for kind, data in (("gaussian", str(folder)), ("mixture", "digits"), ("flow", "digits")):
        with pytest.raises(
            UsageError, match=rf"zeuxis sample \S*net --prior {kind} --prior-data \S+ -n 1, then replay"
        ):
            replay({**made, "prior": {"kind": kind, "sha256": "0", "data": data}})
    with pytest.raises(ZeuxisError):
        replay({**made, "prior": {"kind": "gaussian", "sha256": "0", "data": "hub:someone/birds@" + "0" * 40}})
    assert priors() == kept


def test_what_is_asked_for_may_be_fetched() -> None:
    require_asked("'x'")
    with named_by("the card", "--data does"), pytest.raises(Unasked, match="the card names 'x'"):
        require_asked("'x'")
    require_asked("'x'")


# -- numbers of players -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [("lr", float("nan")), ("lr", float("inf")), ("lr", -1), ("lr", "banana"), ("lr", True), ("betas", [0.9]),
     ("betas", [0.9, 1.5]), ("betas", 0.9), ("clip", -1), ("clip", 0), ("clip", float("nan")), ("warmup", -1),
     ("warmup", 1.5), ("weight_decay", float("inf"))],
)  # fmt: skip
def test_numbers_that_no_optimiser_can_work_with(
    key: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = {"model.hidden": 8, "model.widths": [4], "model.latent": 2}
    with pytest.raises(UsageError, match=rf"players\.autoencoder\.{key}.*(give|wanted)"):
        zx.train("autoencoder", data="digits", size=8, iterations=1, quiet=True,
                 settings={**small, f"players.autoencoder.{key}": value})  # fmt: skip
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [("ema", 2), ("ema", float("nan")), ("batch", 0), ("batch", 1.5), ("minutes", float("inf")), ("iterations", 0),
     ("seed", -1), ("seed", 2**70), ("save_minutes", float("nan")), ("accumulate", 0)],
)  # fmt: skip
def test_numbers_that_no_training_can_work_with(key: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"train\.{key}.*{str(value)[:4]}"):
        zx.train("gaussian", data="digits", size=8, quiet=True, settings={f"train.{key}": value})


def test_a_name_that_is_no_utf_8_is_kept_in_records(tmp_path: Path) -> None:
    found = json.loads(json.dumps({**_plain(), "model": "caf\udce9"}))
    save_png(Image.new("L", (8, 8)), tmp_path / "p.png", found)
    assert read_record(tmp_path / "p.png") == found


def _plain() -> dict[str, Any]:
    return record(
        model="m",
        system="s",
        weights_sha256=None,
        recipe=None,
        data=None,
        seed=0,
        sampling={},
        condition={},
        device="cpu",
    )


@pytest.mark.parametrize("change", [{"config": "x"}, {"config": [1]}, {"system": 3}, {"spec": None}, {"sha256": 3}])
def test_a_card_of_the_wrong_kinds_is_shown_and_not_loaded(
    change: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = changed(tmp_path)
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, **change}))
    assert main(["info", str(folder)]) == 0
    with pytest.raises(ZeuxisError):
        load_system(folder)
    assert "mistake" not in capsys.readouterr().err
