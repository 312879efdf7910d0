"""The worker's process: started with the server, started again when it dies, told of work. Imports no torch."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from zeuxis.plugins import VARIABLE, places
from zeuxis.studio.queue import JobQueue

PATIENCE = 10.0  # seconds in which a worker ends that was asked to
MOST_PAUSE = 30.0  # seconds before one that dies again and again is started once more


class Supervisor:
    """Keeps one worker alive. What a dead one left running is queued again."""

    def __init__(self, runs: Path, queue: JobQueue, device: str = "cpu") -> None:
        self.command = [sys.executable, "-m", "zeuxis.studio.worker", str(runs), str(queue.most), device]
        own = os.pathsep.join(str(place.path) for place in places() if place.package is None)
        self.environment = {**os.environ, VARIABLE: own}  # where systems of the user's own lie, also by --systems
        self.queue = queue
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Start the worker, and go on at once."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is work; a worker that is not there finds it when it comes."""
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

    def stop(self) -> None:
        """End the worker: what it is at is queued again."""
        self._ending.set()
        process = self._process
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._thread.join(PATIENCE)

    def _keep(self) -> None:
        pause = 0.1
        while not self._ending.is_set():
            begun = time.monotonic()
            self._process = subprocess.Popen(self.command, stdin=subprocess.PIPE, env=self.environment)
            if self._ending.is_set() and self._process.stdin is not None:  # :meth:`stop` may have seen none
                self._process.stdin.close()
            self._process.wait()
            if not self._ending.is_set():
                self.queue.reclaim()
                pause = min(MOST_PAUSE, 2 * pause) if time.monotonic() - begun < MOST_PAUSE else 0.1
                self._ending.wait(pause)
