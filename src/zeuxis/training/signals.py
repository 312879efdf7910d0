"""SIGINT and SIGTERM: a training ends after its round, a callback at once; a second Ctrl-C ends both at once.

Python hears a signal only between two steps of its own, and a disk that is slow to save on, or a large matrix, keeps it
from them for minutes. A program that can be left at any moment (:func:`leaving`) hears it at once, in a thread.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType

PATIENCE = 1.0  # seconds: signals closer than this are one, which a launcher sent on
GRACE = 2.0  # seconds after a second Ctrl-C in which a training ends by itself, its drafts removed


class Interrupted(Exception):
    """A signal asked to stop while a callback was at work."""


@dataclass(frozen=True)
class Leaving:
    """What a program does where a training is to stop: ``begun`` is told by which signal, ``at_once`` what is kept.

    ``at_once`` ends the process, from another thread than the training's, and does not return.
    """

    begun: Callable[[str], None]
    at_once: Callable[[str], None]


_LEAVING: ContextVar[Leaving | None] = ContextVar("leaving", default=None)


@contextmanager
def leaving(begun: Callable[[str], None], at_once: Callable[[str], None]) -> Iterator[None]:
    """Within this context trainings are left as :class:`Leaving` says; without, by a KeyboardInterrupt alone."""
    before = _LEAVING.set(Leaving(begun, at_once))
    try:
        yield
    finally:
        _LEAVING.reset(before)


class Watcher:
    """Hears signals while the training's own thread is deep in a library: a byte for each comes through a socket."""

    def __init__(self, leave: Leaving, kept: Callable[[], str]) -> None:
        self.leave, self.kept = leave, kept
        self.over = threading.Event()  # set as soon as the training has ended
        self.first: float | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hear within this context; of the main thread alone."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        thread = threading.Thread(target=self._listen, args=(ours,), name="zeuxis-signals", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            signal.set_wakeup_fd(before)
            theirs.close()
            thread.join()
            ours.close()

    def _listen(self, ours: socket.socket) -> None:
        while numbers := ours.recv(16):
            for number in numbers:
                self.hear(number)

    def hear(self, number: int) -> None:
        """A signal came: the first is told of, a second Ctrl-C ends the process unless the training does so itself."""
        if number not in (signal.SIGINT, signal.SIGTERM):
            return
        now = time.monotonic()
        if self.first is None:
            self.first = now
            self.leave.begun(signal.Signals(number).name)
        elif number == signal.SIGINT and now - self.first > PATIENCE and not self.over.wait(GRACE):
            self.leave.at_once(self.kept())


class Signals:
    """Within :meth:`heeded` a signal does not kill: ``asked`` names it, and :meth:`callback` is left at once.

    Who does not want to wait for the end of the round, and for what is saved then, presses Ctrl-C again. ``kept`` says
    what there is of the training then.
    """

    def __init__(self, kept: Callable[[], str] = str) -> None:
        self.asked: str | None = None
        self.kept = kept
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
        leave = _LEAVING.get() if before else None
        try:
            if leave is None:
                yield
            else:
                with Watcher(leave, self.kept).watching():
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
