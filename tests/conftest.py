"""What tests share: a small source that gives everything, one thread each, no network, and ``--device``."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

# Before torch is loaded: its threads are counted then. The programs that a test starts inherit it.
QUIET = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
os.environ.update(QUIET)

import pytest
import torch

from zeuxis.cli import main
from zeuxis.plugins import VARIABLE
from zeuxis.testing.toy import CAPTIONS as CAPTIONS
from zeuxis.testing.toy import FACTORS as FACTORS
from zeuxis.testing.toy import toy_source as toy_source

OFFLINE = Path(__file__).parent / "offline"
spec = importlib.util.spec_from_file_location("offline", OFFLINE / "sitecustomize.py")
assert spec is not None and spec.loader is not None
offline = importlib.util.module_from_spec(spec)
spec.loader.exec_module(offline)  # from here on the network is refused, and below in every Python that a test starts
NetworkRefused = offline.NetworkRefused
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")]))
os.environ.pop(VARIABLE, None)  # what the person at this machine added is no matter of the tests
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as of what a shell starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The tests' own objects, near a million, stay to the end: what looks for garbage passes them over."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="Where the contract is checked: cpu, cuda, cuda:1 or mps.")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """The device that ``--device`` names."""
    return str(request.config.getoption("--device"))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _without_bfloat16() -> Iterator[None]:
    """Tests, and what is made once for several, compute in float32 where a recipe leaves the precision open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zeuxis.training.processor.FAST_BFLOAT16", ())
        yield


@pytest.fixture(autouse=True, scope="session")
def _without_tensorboard() -> Iterator[None]:
    """No training is followed by TensorBoard, which takes seconds to import, but those of tests/test_tracking.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zeuxis.training.tracking.find_spec", lambda name: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _few_batches_for_norms() -> Iterator[None]:
    """The statistics of an average's batch norms are measured on two batches; tests/test_norms.py knows how many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zeuxis.training.training_state.BATCHES", 2)
        yield


@pytest.fixture(autouse=True, scope="session")
def _without_waiting_for_the_disk() -> Iterator[None]:
    """Nothing that a test writes must outlive a power failure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        yield


@pytest.fixture(autouse=True)
def _own_random_numbers() -> Iterator[None]:
    """What a test seeds reaches no other test."""
    with torch.random.fork_rng(devices=[]):
        yield


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command: its exit code, and what it printed on stdout and stderr."""

    def run(*args: object) -> tuple[int, str, str]:
        code = main([str(a) for a in args])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
