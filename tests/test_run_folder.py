"""One training at a time in a run folder, and readers that never find it between two states."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from test_damage import contents
from test_training import trainer

import zeuxis as zx
from zeuxis.catalog.weights import locate, weights_of
from zeuxis.errors import RunInUse, Stopped, WeightsError
from zeuxis.files import machine
from zeuxis.training.checkpoint import read_model, write_folder
from zeuxis.training.exchange import exchange, holds, settled
from zeuxis.training.run_lock import NAME, run_lock
from zeuxis.training.signals import Leaving, Signals, Watcher, leaving
from zeuxis.training.trainer import Trainer

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and forks of POSIX")
HOLD = """
import os, sys
from pathlib import Path
from zeuxis.training.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    if len(sys.argv) > 2 and os.fork() == 0:  # a child that has the lock's handle too
        sys.stdout.write(f"{os.getpid()}\\n")
        sys.stdout.flush()
        sys.stdin.read()
        os._exit(0)
    sys.stdout.write("locked\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""


@contextmanager
def holder(folder: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of ``folder``."""
    command = [sys.executable, "-c", HOLD, str(folder), *more]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_second_training_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        assert process.stdout is not None and process.stdout.readline() == "locked\n"
        before = contents(tmp_path)
        with pytest.raises(RunInUse, match=rf"{tmp_path} is being trained by process {process.pid} on .+: .*--out"):
            trainer(tmp_path).run()
        assert contents(tmp_path) == before
        process.kill()  # as by kill -9: it cannot put anything in order
        process.wait()
        assert (tmp_path / NAME).is_file()
        with run_lock(tmp_path):
            assert json.loads((tmp_path / NAME).read_text())["process"] == os.getpid()
    assert not (tmp_path / NAME).exists()


def test_a_second_training_of_the_same_process_is_refused(tmp_path: Path) -> None:
    with run_lock(tmp_path), pytest.raises(RunInUse, match=rf"process {os.getpid()} on"), run_lock(tmp_path):
        pass
    assert not (tmp_path / NAME).exists()


@posix
def test_a_child_that_outlives_its_parent_does_not_keep_the_lock(tmp_path: Path) -> None:
    with holder(tmp_path, "fork") as process:
        assert process.stdout is not None
        lines = {process.stdout.readline(), process.stdout.readline()}
        child = int(next(line for line in lines if line != "locked\n"))
        process.kill()
        process.wait()
        try:
            with run_lock(tmp_path):
                assert json.loads((tmp_path / NAME).read_text())["process"] == os.getpid()
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_lock_of_another_host_without_a_holder_is_taken(tmp_path: Path) -> None:
    """The lock is the system's: what the file says is for people."""
    (tmp_path / NAME).write_text(json.dumps({"process": 1, "host": "elsewhere", "machine": "0" * 8}))
    with run_lock(tmp_path):
        pass
    (tmp_path / NAME).write_bytes(b"\x00not JSON")
    with run_lock(tmp_path):
        pass


def test_what_kills_left_in_a_run_is_swept_when_it_is_trained_again(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        pass
    for name in ("checkpoints", "previews", ""):
        (tmp_path / name).mkdir(exist_ok=True)
        left = tmp_path / name / f".draft-{machine()}-{process.pid}-00000000"
        left.mkdir()
        (left / "model.safetensors").write_bytes(bytes(100))
    trainer(tmp_path, rounds=1).run()
    assert not list(tmp_path.rglob(".draft-*"))


UNREADABLE = (
    "{",
    "[1]",
    '{"format": 99}',
    '{"format": "x"}',
    '{"format": 2, "recipe": {"name": "../x"}}',
    "[" * 99_999,
)


@pytest.mark.parametrize("run", UNREADABLE)
def test_a_run_that_cannot_be_read_stops_no_other_and_is_named(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = tmp_path / "runs" / "00007-other-digits"
    broken.mkdir(parents=True)
    (broken / "run.json").write_text(run)
    made = zx.train("gaussian", data="digits", size=8, quiet=True)
    assert made.folder.name == "00008-gaussian-digits"
    assert [note for note in made.notes if note.startswith(f"passed over {Path('runs') / broken.name}")]
    assert (broken / "run.json").read_text() == run


@posix
def test_a_second_ctrl_c_does_not_wait_for_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("zeuxis.training.signals.time.monotonic", lambda: now[0])
    signals = Signals()
    with signals.heeded():
        signal.raise_signal(signal.SIGINT)
        now[0] += 0.1  # a launcher sends the same one on
        signal.raise_signal(signal.SIGINT)
        assert signals.asked == "SIGINT"
        now[0] += 2
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def watcher(said: list[str], kept: str = "all of it") -> Watcher:
    return Watcher(Leaving(said.append, lambda what: said.append(f"left: {what}")), lambda: kept)


def test_a_second_ctrl_c_ends_a_program_whose_training_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("zeuxis.training.signals.time.monotonic", lambda: now[0])
    monkeypatch.setattr("zeuxis.training.signals.GRACE", 0)
    said: list[str] = []
    blocked = watcher(said)
    blocked.hear(signal.SIGINT)
    assert said == ["SIGINT"], "the first is told of at once, whatever the training is at"
    now[0] += 0.1  # a launcher sends the same one on
    blocked.hear(signal.SIGINT)
    now[0] += 5
    blocked.hear(signal.SIGTERM)  # who asks twice in this way can wait
    assert said == ["SIGINT"]
    blocked.hear(signal.SIGINT)
    assert said == ["SIGINT", "left: all of it"]
    answered = watcher(said := [])
    answered.hear(signal.SIGTERM)
    now[0] += 5
    answered.over.set()
    answered.hear(signal.SIGINT)
    assert said == ["SIGTERM"], "a training that has ended by itself is not cut short"


@posix
def test_signals_are_heard_in_a_thread_and_what_heard_them_before_is_put_back() -> None:
    heard = threading.Event()
    before = signal.set_wakeup_fd(-1)
    signals = Signals()
    with leaving(lambda by: heard.set(), lambda kept: None), signals.heeded():
        signal.raise_signal(signal.SIGINT)
        assert heard.wait(60) and signals.asked == "SIGINT"
    assert signal.set_wakeup_fd(before) == before
    assert "zeuxis-signals" not in {thread.name for thread in threading.enumerate()}


def test_a_training_that_is_left_at_once_says_what_it_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed_twice(self: Trainer) -> NoReturn:
        self.signals.asked = "SIGINT"
        raise KeyboardInterrupt

    given = {"iterations": 1, "out": tmp_path / "run", "quiet": True}
    monkeypatch.setattr(Trainer, "save", pressed_twice)
    with pytest.raises(Stopped, match=r"SIGINT, given again: nothing was saved in .*run yet") as caught:
        zx.train("digits", **given)
    assert caught.value.exit_code == 130
    monkeypatch.undo()
    zx.train("digits", **given)
    monkeypatch.setattr(Trainer, "play", pressed_twice)
    with pytest.raises(Stopped, match=r"run keeps iteration 1, and zeuxis resume .*run goes on from there"):
        zx.train("digits", **{**given, "iterations": 2})


# -- exchange -----------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return zx.train("gaussian", data="digits", size=8, out=tmp_path / "run", quiet=True).folder


def test_a_model_is_found_at_every_moment_of_its_exchange(model: Path) -> None:
    folder = model / "model"
    aside = folder.with_name(".old-model")
    found = weights_of(model)
    folder.rename(aside)  # between the two renames
    assert locate(model) == folder and weights_of(model) == found
    assert zx.load(model).weights_sha256 == found and holds(folder, "model.json")
    shutil.copytree(aside, folder)  # before the old one is gone
    (aside / "model.json").unlink()
    assert weights_of(model) == found


def test_a_file_that_goes_between_two_looks_at_it_is_read_again(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """safetensors finds the file, and torch, which opens it once more by its name, does not."""

    def gone(path: Path) -> None:
        raise RuntimeError(f"unable to open file <{path}> in read-only mode: No such file or directory (2)")

    monkeypatch.setattr("zeuxis.training.checkpoint.load_file", gone)
    with pytest.raises(WeightsError, match="it went while it was read"):
        read_model(model / "model")


def test_no_load_fails_while_a_model_is_exchanged(model: Path) -> None:
    """Models of two sets of weights in turn: each load gives one of them, whole."""
    folder, count = model / "model", 30
    tensors, card = read_model(folder)
    drafts = []
    for k in range(count):
        draft = model / f"draft-{k}"
        write_folder(draft, {n: t + k % 2 for n, t in tensors.items()}, card, "model")
        drafts.append(draft)
    wanted = {json.loads((draft / "model.json").read_text())["sha256"] for draft in drafts}
    done = threading.Event()

    def write() -> None:
        for draft in drafts:
            exchange(draft, folder)
        done.set()

    thread = threading.Thread(target=write)
    loads, failures = 0, []
    thread.start()
    while not done.is_set() or loads == 0:
        try:
            assert locate(model) == folder
            found = read_model(folder)[1]["sha256"]
            assert found in wanted | {card["sha256"]}
        except WeightsError as error:
            failures.append(str(error))
        loads += 1
    thread.join()
    assert failures == []


def test_damage_is_said_at_once_and_an_absent_folder_too(tmp_path: Path) -> None:
    asked = []

    def read(place: Path) -> None:
        asked.append(place)
        raise WeightsError("damaged")

    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(WeightsError, match="damaged"):
            settled(folder, read)
    assert len(asked) == 2


def test_it_is_read_again_where_it_was_exchanged_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "draft").mkdir()
    asked = []

    def read(place: Path) -> int:
        asked.append(place)
        if len(asked) == 1:
            exchange(tmp_path / "draft", tmp_path / "a")
            raise WeightsError("half of it is the old one's")
        return torch.tensor(3).item()

    assert settled(tmp_path / "a", read) == 3 and len(asked) == 2
