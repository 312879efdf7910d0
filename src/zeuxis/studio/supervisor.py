"""The workers' processes: started with the server, started again when they die, told of work. Imports no torch."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from zeuxis.errors import ZeuxisError
from zeuxis.plugins import VARIABLE, places
from zeuxis.studio.queue import JobQueue, Lane

MODULE = "zeuxis.studio.worker_process"
PATIENCE: dict[Lane, float] = {"drawing": 10.0, "training": 60.0}  # seconds in which one ends that was asked to
LOOK = 0.5  # seconds between looks at the queue of a lane whose worker comes when it is wanted
MOST_PAUSE = 30.0  # seconds before one that dies again and again is started once more
MOST_STARTS = 3  # of workers that end before they are at anything, after which who waits is told so


class Supervisor:
    """Keeps the worker of one lane alive. What a dead one left running is queued again.

    The worker of drawings is always there, with its models. That of trainings is started when there is one, and does
    that one alone, so that its memory is free afterwards.
    """

    def __init__(self, runs: Path, queue: JobQueue, device: str = "cpu", lane: Lane = "drawing") -> None:
        self.lane = lane
        self.command = [sys.executable, *_as_here(), "-m", MODULE, lane, str(runs), str(queue.most), device]
        own = os.pathsep.join(str(place.path) for place in places() if place.package is None)
        self.environment = {**os.environ, VARIABLE: own}  # where systems of the user's own lie, also by --systems
        self.queue = queue
        self._process: subprocess.Popen[bytes] | None = None
        self._ending, self._woken = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._failed = 0  # workers, one after another, that ended before they were at anything

    def start(self) -> None:
        """Start the worker, and go on at once."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is work; a worker that is not there finds it when it comes."""
        self._woken.set()
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            process.stdin.write(b"\n")
            process.stdin.flush()
        except (OSError, ValueError):  # it has just died, and another will look at the queue first
            return

    @property
    def process(self) -> int | None:
        """The number of the worker's process, while there is one."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def end(self) -> None:
        """Have the worker end soon, and none be started; wait for nothing."""
        self._ending.set()
        self._woken.set()
        if self._process is not None:
            _hang_up(self._process)

    def stop(self) -> None:
        """End the worker, and wait for it: what it is at is queued again."""
        self.end()
        process = self._process
        if process is not None:
            try:
                process.wait(PATIENCE[self.lane])
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._thread.join(PATIENCE[self.lane])

    def _keep(self) -> None:
        pause = 0.1
        while not self._ending.is_set():
            begun = time.monotonic()
            try:
                if not self._wanted():
                    return
                begun = time.monotonic()
                ended = self._run()
                self._count(ended)
                if self.lane == "drawing" and not self._ending.is_set():  # a training's does so itself, under its lock
                    self.queue.reclaim(self.lane)
            except (OSError, ZeuxisError) as error:  # no memory for a process, no room for the queue: that may pass
                sys.stderr.write(f"zeuxis serve: no worker for now: {error}\n")
                ended = 1
            if self.lane == "drawing" or ended != 0:
                pause = min(MOST_PAUSE, 2 * pause) if time.monotonic() - begun < MOST_PAUSE else 0.1
                self._ending.wait(pause)

    def _count(self, ended: int) -> None:
        """Tell who waits that no worker starts, where one after another has ended so before it was at anything."""
        if self._ending.is_set():
            return
        self._failed = self._failed + 1 if ended != 0 and not self.queue.is_at_work(self.lane) else 0
        if self._failed >= MOST_STARTS:
            self.queue.give_up(
                self.lane,
                f"the process that would do it does not start (it ended {self._failed} times, with {ended}): the "
                "terminal in which the service runs says why, and zeuxis doctor what mends it",
            )

    def _run(self) -> int:
        """One worker from its beginning to its end; what it left with."""
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            env=self.environment,
            start_new_session=True,  # Ctrl-C is the server's, which ends its input
        )
        if self._ending.is_set():  # :meth:`end` may have seen none
            _hang_up(self._process)
        ended = self._process.wait()
        _hang_up(self._process)
        return ended

    def _wanted(self) -> bool:
        """Wait until a worker is wanted; False where the server ends."""
        while not self._ending.is_set():
            if self.lane == "drawing" or self.queue.is_wanted(self.lane):
                return True
            self._woken.clear()
            self._woken.wait(LOOK)
        return False


def _as_here() -> list[str]:
    """What has a process find the modules that this one does: Python looks into the folder where one is, too, for
    ``-m``, and a file there that happens to be called as a module is would be run."""
    return [] if {"", str(Path.cwd())} & set(sys.path) else ["-P"]


def _hang_up(process: subprocess.Popen[bytes]) -> None:
    """End the input of a process, from whichever thread."""
    if process.stdin is None:
        return
    with suppress(OSError):  # it has died, and what it was told last is still to be written
        process.stdin.close()
