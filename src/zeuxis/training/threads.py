"""How many threads compute: as many as were asked for, or as are quicker now on this machine.

An operation in several threads ends when the slowest has: with another program on one of two cores, two threads wait
for each other longer than one would compute. So a training times a small convolution on one thread and on more before
it begins, and once more when its rounds become slow. The number of threads decides the order of sums, hence the last
bits of the weights: it is written into every checkpoint, and a training that goes on keeps it.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch
from torch.nn.functional import conv2d

from zeuxis.training.processor import processor

VARIABLE = "OMP_NUM_THREADS"  # what a person, or --threads, sets
WORTH = 1.1  # more threads must be quicker by this factor
TRIALS = 7  # of each number of threads, in turns
LONGEST = 1.0  # seconds after which no more turns are begun: where threads spin a step may take half a second
RECENT = 16  # rounds whose median tells how quick training is
SLOW = 2.0  # times the usual: rounds that take as much are slow
PAUSE = 30.0  # seconds at least from one look to the next


@dataclass(frozen=True)
class ThreadCount:
    """A number of threads, and why it."""

    number: int
    why: str


def asked() -> ThreadCount | None:
    """The number that somebody chose for this process; None where torch was left to take every core."""
    now = torch.get_num_threads()
    if os.environ.get(VARIABLE):
        return ThreadCount(now, f"{VARIABLE} is {os.environ[VARIABLE]}")
    return None if now == processor().cores else ThreadCount(now, "torch was set to it")


def chosen() -> ThreadCount:
    """What was asked for, or else what is quickest now."""
    return asked() or quickest_now()


def quickest_now() -> ThreadCount:
    """What is quickest now, whatever this process computes on."""
    return quickest(timed(candidates(processor().cores), small_step()))


def candidates(cores: int) -> list[int]:
    """1, 2, 4, ... and all cores."""
    return sorted({1 << k for k in range(cores.bit_length()) if 1 << k <= cores} | {cores})


def quickest(seconds: Mapping[int, float]) -> ThreadCount:
    """The fewest threads than which no others are quicker by ``WORTH``, of the seconds that each number took."""
    least = min(seconds.values())
    number = min(n for n, taken in seconds.items() if taken < WORTH * least)
    others = ", ".join(f"{1e3 * taken:.1f} ms on {n}" for n, taken in seconds.items())
    return ThreadCount(number, f"a small convolution takes {others}" if len(seconds) > 1 else "there is one core")


def timed(numbers: Sequence[int], step: Callable[[], None]) -> dict[int, float]:
    """The median seconds of ``step`` on each number of threads, tried in turns; one number alone is not tried."""
    if len(numbers) == 1:
        return {numbers[0]: 0.0}
    before = torch.get_num_threads()
    taken: dict[int, list[float]] = {n: [] for n in numbers}
    try:
        begun = time.perf_counter()
        for trial in range(TRIALS + 1):
            if trial > 1 and time.perf_counter() - begun > LONGEST:
                break
            for n in numbers:
                torch.set_num_threads(n)
                start = time.perf_counter()
                step()
                if trial:  # the first builds what the others use
                    taken[n].append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return {n: median(found) for n, found in taken.items()}


def small_step() -> Callable[[], None]:
    """A convolution of the size that desk recipes have, forward and backward: a few milliseconds."""
    x = torch.linspace(-1, 1, 16 * 32 * 16 * 16).view(16, 32, 16, 16).requires_grad_()
    w = torch.linspace(-1, 1, 32 * 32 * 9).view(32, 32, 3, 3).requires_grad_()

    def step() -> None:
        conv2d(x, w, padding=1).square().mean().backward()

    return step


@contextmanager
def held(device: str) -> Iterator[None]:
    """Within it every training has the same number of threads, chosen once: for figures that stand side by side."""
    wish = asked()
    if wish is not None or torch.device(device).type != "cpu":
        yield
        return
    said, number = os.environ.get(VARIABLE), quickest_now().number
    os.environ[VARIABLE] = str(number)
    try:
        with computing_on(number):
            yield
    finally:
        if said is None:
            os.environ.pop(VARIABLE)
        else:
            os.environ[VARIABLE] = said


@contextmanager
def computing_on(number: int) -> Iterator[None]:
    """Within it torch computes with ``number`` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Threads:
    """The threads of one training; ``fixed`` where they are not to be chosen: beside a GPU, or in several processes."""

    def __init__(self, *, fixed: bool = False) -> None:
        self.before = torch.get_num_threads()
        self.fixed = fixed
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.usual: float | None = None
        self.looked = time.monotonic()

    @property
    def number(self) -> int:
        """How many compute now."""
        return torch.get_num_threads()

    def begin(self, kept: int | None) -> str:
        """Choose; ``kept`` is the number of the checkpoint that is gone on from. Returns a line for the log."""
        wish = asked()
        self.fixed = self.fixed or wish is not None
        if wish is None and not self.fixed:
            wish = quickest_now() if kept is None else ThreadCount(kept, "the training began with it")
            torch.set_num_threads(wish.number)
        return f"threads: {self.number}" + (f" ({wish.why})" if wish else "")

    def after(self, seconds: float) -> str | None:
        """Note a round; a line for the log where rounds have become slow and another number is quicker now."""
        self.recent.append(seconds)
        if self.fixed or len(self.recent) < RECENT:
            return None
        now = median(self.recent)
        usual = self.usual = now if self.usual is None else min(now, self.usual)
        if now < SLOW * usual or time.monotonic() - self.looked < PAUSE:
            return None
        self.looked, self.usual = time.monotonic(), None
        self.recent.clear()
        found, was = quickest_now(), self.number
        torch.set_num_threads(found.number)
        slow = f"rounds took {now:.2g} s instead of {usual:.2g}"
        return f"threads: {found.number} instead of {was}, for {slow} ({found.why})"

    def end(self) -> None:
        """Give back the number that was set before."""
        torch.set_num_threads(self.before)
