"""SIGINT and SIGTERM: a training ends after its round, a callback at once; a second Ctrl-C ends both at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PATIENCE = 1.0  # seconds: signals closer than this are one, which a launcher sent on


class Interrupted(Exception):
    """A signal asked to stop while a callback was at work."""


class Signals:
    """Within :meth:`heeded` a signal does not kill: ``asked`` names it, and :meth:`callback` is left at once.

    Who does not want to wait for the end of the round, and for what is saved then, presses Ctrl-C again.
    """

    def __init__(self) -> None:
        self.asked: str | None = None
        self._in_callback = False
        self._first = 0.0  # when the first came

    def _ask(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.asked is None:
            self._first = now
        elif number == signal.SIGINT and now - self._first > PATIENCE:
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name
        if self._in_callback:
            self._in_callback = False
            raise Interrupted

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Take over both signals, but for one that whoever started this process had it ignore, and give them back."""
        heard = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is not signal.SIG_IGN]
        try:
            before = {s: signal.signal(s, self._ask) for s in heard}
        except ValueError:  # not the main thread: whoever started it must stop it
            before = {}
        try:
            yield
        finally:
            for s, handler in before.items():
                if handler is not None:  # else it is no handler of Python's, and cannot be given back
                    signal.signal(s, handler)

    @contextmanager
    def callback(self) -> Iterator[None]:
        """What may take its time and changes nothing of the training: previews, what is measured of pictures.

        A signal ends it here, and ``asked`` says which.
        """
        self._in_callback = True
        try:
            yield
        except Interrupted:
            pass  # ``asked`` is set, and a callback does not touch the state of the training
        finally:
            self._in_callback = False
