"""What depends on the machine: the precision of networks, and what the processor tells of itself."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from test_training import trainer

import zeuxis.training.precision as precision
import zeuxis.training.processor as asked
import zeuxis.training.threads as threads
from zeuxis.__main__ import open_streams, patient
from zeuxis.api.model import load
from zeuxis.api.runs import Recorded
from zeuxis.cli import main
from zeuxis.cli.machine import prepared
from zeuxis.errors import UsageError
from zeuxis.escaping import to_stderr
from zeuxis.recipe import load_recipe, packaged_recipes
from zeuxis.training.checkpoint import OWN_HASH
from zeuxis.training.precision import chosen, precision_of
from zeuxis.training.processor import Processor, told
from zeuxis.training.threads import ThreadCount, Threads, candidates, quickest, small_step, timed

ROOT = Path(__file__).parents[1]
INTEL = (
    "processor\t: 0\nmodel name\t: Xeon Gold\nflags\t\t: fpu avx2 avx512f avx512_bf16 amx_bf16\n\nmodel name\t: other\n"
)
OLD = "model name\t: Core i5\nflags\t: fpu sse4_2 avx2\nvmx flags\t: avx512_bf16\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd sve bf16 i8mm\nCPU implementer\t: 0x41\n"
VECTORS = "vendor_id\t: GenuineIntel\nmodel name\t: Xeon Silver\nflags\t: avx2 avx512f avx512_bf16\n"  # slower in it
AMD = "vendor_id\t: AuthenticAMD\nmodel name\t: EPYC\nflags\t: avx2 avx512f avx512_bf16\n"
FAST = asked.FAST_BFLOAT16  # before conftest hides it


def on(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let this processor be another."""
    monkeypatch.setattr(asked, "FAST_BFLOAT16", FAST)
    monkeypatch.setattr(precision, "processor", lambda: told(text, "unnamed", 2))


@pytest.mark.parametrize(
    ("text", "name", "instructions", "vendor", "auto"),
    [
        (INTEL, "Xeon Gold", ("avx2", "avx512f", "avx512_bf16", "amx_bf16"), "", "bfloat16"),
        (OLD, "Core i5", ("avx2",), "", "float32"),
        (ARM, "unnamed", ("asimd", "sve", "bf16", "i8mm"), "", "float32"),
        (VECTORS, "Xeon Silver", ("avx2", "avx512f", "avx512_bf16"), "GenuineIntel", "float32"),
        (AMD, "EPYC", ("avx2", "avx512f", "avx512_bf16"), "AuthenticAMD", "bfloat16"),
        ("", "unnamed", (), "", "float32"),
    ],
)
def test_the_processor_is_asked_whether_it_computes_bfloat16(
    monkeypatch: pytest.MonkeyPatch, text: str, name: str, instructions: tuple[str, ...], vendor: str, auto: str
) -> None:
    assert told(text, "unnamed", 2) == Processor(name, instructions, 2, vendor)
    on(monkeypatch, text)
    assert chosen("cpu").precision == precision_of("auto", "cpu") == auto
    assert precision_of("float32", "cpu") == "float32" and precision_of("bfloat16", "cpu") == "bfloat16"
    assert chosen("mps").precision == "float32"


def test_a_run_keeps_the_precision_that_it_began_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on(monkeypatch, INTEL)
    trainer(tmp_path, rounds=2).run()
    assert json.loads((tmp_path / "model" / "model.json").read_text())["precision"] == "bfloat16"
    assert '"computes in bfloat16"' in (tmp_path / "log.jsonl").read_text()
    on(monkeypatch, OLD)
    moved = trainer(tmp_path, rounds=4)
    assert moved.steps.precision == "float32"
    moved.run()
    assert moved.steps.precision == "bfloat16" and moved.round == 4


def test_a_run_of_before_there_was_an_auto_goes_on_in_float32(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on(monkeypatch, INTEL)
    trainer(tmp_path, rounds=2, precision="float32").run()
    for path in tmp_path.glob("checkpoints/*/state.json"):
        facts = json.loads(path.read_text())
        path.write_text(json.dumps({key: facts[key] for key in facts.keys() - {"precision", "threads", OWN_HASH}}))
    later = trainer(tmp_path, rounds=4)
    later.run()
    assert later.round == 4 and later.steps.precision == "float32"
    plain = load_recipe("dcgan")
    full, half = (load_recipe("dcgan", (f'train.precision="{name}"',)) for name in ("float32", "bfloat16"))
    assert Recorded(full, False).trains(plain) and Recorded(plain, False).trains(plain)
    assert not Recorded(full, False).trains(half) and not Recorded(plain, False).trains(full)


def test_an_open_precision_computes_as_the_one_that_it_comes_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on(monkeypatch, INTEL)
    weights = {}
    for name in ("auto", "bfloat16", "float32"):
        made = trainer(tmp_path / name, rounds=3, precision=name)
        made.run()
        weights[name] = torch.cat([p.detach().flatten() for p in made.system.parameters()])
    assert torch.equal(weights["auto"], weights["bfloat16"]) and not torch.equal(weights["auto"], weights["float32"])


def test_a_model_is_kept_in_what_auto_comes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, OLD)
    assert load("cvae", precision="auto").precision == "float32"
    on(monkeypatch, INTEL)
    made = load("cvae", precision="auto").sample(1, label=3)
    assert made.records[0]["dtype"] == "bfloat16", "the record has what it was, not that it was left open"


def test_no_packaged_recipe_is_bounded_by_time_or_forces_half_precision() -> None:
    for name in packaged_recipes():
        train = load_recipe(name).train
        assert train.minutes is None, f"{name}: a budget in minutes is a claim about a machine"
        assert train.precision in ("auto", "float32"), name


# -- threads ------------------------------------------------------------------------------------------


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody has said how many threads."""
    monkeypatch.setattr(threads, "asked", lambda: None)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_more_threads_are_taken_where_they_are_quicker() -> None:
    assert candidates(1) == [1] and candidates(2) == [1, 2] and candidates(6) == [1, 2, 4, 6]
    assert quickest({1: 0.9, 2: 0.5}).number == 2
    assert quickest({1: 0.25, 2: 2.4}).number == 1, "they wait for each other"
    assert quickest({1: 1.0, 2: 0.52, 4: 0.5}).number == 2, "the fewest of equals"
    assert "250.0 ms on 1, 2400.0 ms on 2" in quickest({1: 0.25, 2: 2.4}).why


def test_looking_leaves_the_threads_as_they_were() -> None:
    before, seen = torch.get_num_threads(), []
    found = timed([1, 2], lambda: seen.append(torch.get_num_threads()))
    assert set(found) == {1, 2} and min(found.values()) > 0 and torch.get_num_threads() == before
    assert seen[:4] == [1, 2, 1, 2], "in turns"
    small_step()()


def test_who_asks_for_a_number_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "timed", lambda numbers, step: pytest.fail("nothing is to be tried"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    wish = threads.asked()
    assert wish is not None and wish.number == torch.get_num_threads() and "OMP_NUM_THREADS is 1" in wish.why
    assert "OMP_NUM_THREADS is 1" in Threads().begin(7)
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(threads, "asked", lambda: None)
    beside = Threads(fixed=True)
    assert beside.begin(7) == "threads: 1" and [beside.after(t) for t in (0.1, 9.0) * 40] == [None] * 80
    monkeypatch.undo()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "processor", lambda: Processor("", (), 64))
    assert threads.asked() == ThreadCount(1, "torch was set to it")


def test_a_run_keeps_the_threads_that_it_began_with(
    monkeypatch: pytest.MonkeyPatch, unasked: None, tmp_path: Path
) -> None:
    monkeypatch.setattr(threads, "quickest_now", lambda: ThreadCount(2, "planted"))
    before = torch.get_num_threads()
    trainer(tmp_path, rounds=2).run()
    assert torch.get_num_threads() == before
    monkeypatch.setattr(threads, "quickest_now", lambda: pytest.fail("the run has its number"))
    trainer(tmp_path, rounds=4).run()
    card = json.loads((tmp_path / "model" / "model.json").read_text())
    assert (card["threads"], card["round"]) == (2, 4)
    log = (tmp_path / "log.jsonl").read_text()
    assert "threads: 2 (planted)" in log and "threads: 2 (the training began with it)" in log


def test_slow_rounds_are_looked_into(monkeypatch: pytest.MonkeyPatch, unasked: None) -> None:
    now = [0.0]
    monkeypatch.setattr(threads.time, "monotonic", lambda: now[0])
    answers = iter([ThreadCount(2, "idle"), ThreadCount(1, "busy")])
    monkeypatch.setattr(threads, "quickest_now", lambda: next(answers))
    found = Threads()
    assert found.begin(None) == "threads: 2 (idle)"
    assert [found.after(0.2) for _ in range(20)] == [None] * 20
    assert [found.after(2.0) for _ in range(16)] == [None] * 16, "too soon after the start"
    now[0] = 31.0
    line = found.after(2.0)
    assert line is not None and line.startswith("threads: 1 instead of 2, for rounds took 2 s instead of 0.2")
    assert torch.get_num_threads() == 1
    assert [found.after(0.25) for _ in range(40)] == [None] * 40
    found.end()


def test_the_command_line_has_waiting_threads_sleep(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    with prepared(["3"]):
        assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE" and os.environ["OMP_NUM_THREADS"] == "3"
    assert dict(os.environ) == before
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with prepared([]):
        assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE", "who says it has it so"
    with (
        pytest.raises(UsageError, match="--threads 0 is not a number of threads from 1 to 999"),
        prepared(["0"]),
    ):
        pass
    assert main(["list", "--threads"]) == 2 and "--threads lacks its value" in capsys.readouterr().err


def test_a_command_whose_streams_are_closed_writes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has None for a stream that is closed; what it says there, a command or a program without a console, is
    lost, and nothing else is."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    to_stderr("a line of a training")
    open_streams()
    opened = sys.stdin, sys.stdout, sys.stderr
    try:
        assert main(["list"]) == 0 and main(["data", "nosuch"]) == 2
        assert [stream.name for stream in opened] == [os.devnull] * 3
    finally:
        for stream in opened:
            stream.close()


def test_the_command_looks_for_garbage_when_it_has_begun_and_the_library_leaves_the_collector_alone() -> None:
    usual, frozen, callbacks, on = gc.get_threshold(), gc.get_freeze_count(), list(gc.callbacks), gc.isenabled()
    gc.enable()
    try:
        patient(first=10**6)
        assert gc.get_threshold() == (10**6, *usual[1:])
        gc.collect(0)
        assert gc.get_threshold() == usual and gc.callbacks == callbacks and gc.get_freeze_count() > frozen
    finally:
        gc.set_threshold(*usual)
        gc.callbacks[:] = callbacks
        if not on:
            gc.disable()
    files = [path for path in (ROOT / "src").rglob("*.py") if "import gc" in path.read_text(encoding="utf-8")]
    assert [path.name for path in files] == ["__main__.py"]
    assert 'zeuxis = "zeuxis.__main__:entry"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
