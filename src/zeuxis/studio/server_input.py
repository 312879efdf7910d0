"""What a worker's process hears of its server, from its first moment: that there is work, and that the server ends."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable


def leave(status: int = 0) -> None:
    """End this process now: a thread of it waits for input, and nothing is left to be put in order."""
    os._exit(status)


class ServerInput:
    """The lines on standard input: ``wake`` is called for each, and ``end`` once, when there will be none any more.

    The input ends with the server, however that ends. Until a worker is told (:meth:`tells`) nothing is at work, and
    the process just ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake: Callable[[], None] = lambda: None
        self._end: Callable[[], None] = leave
        self._ended = False

    def listen(self) -> None:
        """Hear in a thread, from now on."""
        threading.Thread(target=self._hear, daemon=True).start()

    def tells(self, wake: Callable[[], None], end: Callable[[], None]) -> None:
        """From now on tell a worker that is there."""
        with self._lock:
            self._wake, self._end = wake, end
            if self._ended:
                end()

    def _hear(self) -> None:
        while sys.stdin.buffer.readline():
            self._wake()
        with self._lock:
            self._ended = True
            self._end()
