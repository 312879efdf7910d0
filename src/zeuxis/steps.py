"""Who looks on while a picture comes to be: told of each step of a loop, shown what there is, and free to end it.

A method's loop runs over :func:`each_step`, and passes what it would show to :func:`show`. Where nobody looks on (see
:func:`watched`), both cost next to nothing and change nothing. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Onlooker(Protocol):
    """What is told of a drawing; whatever it raises ends the drawing and reaches whoever asked for it."""

    def step(self, done: int, of: int) -> None:
        """``done`` steps of ``of`` are behind."""
        ...

    def shows(self, make: Callable[[], Any]) -> None:
        """``make()`` is the picture ``(B, C, H, W)`` as it stands, or the latent of it; costs what it costs."""
        ...


class _Looking:
    """An onlooker, and whether a loop is under way of which it is told: of loops within that it is not."""

    def __init__(self, by: Onlooker) -> None:
        self.by, self.inside = by, False


_LOOKING: ContextVar[_Looking | None] = ContextVar("looking", default=None)


@contextmanager
def watched(by: Onlooker) -> Iterator[None]:
    """Within it, and in this thread alone, ``by`` is told of every step."""
    token = _LOOKING.set(_Looking(by))
    try:
        yield
    finally:
        _LOOKING.reset(token)


def each_step(items: Sequence[T]) -> Iterator[T]:
    """``items``; before each the onlooker, if there is one, is told how many are behind.

    Of a loop within another it is not told.
    """
    looking = _LOOKING.get()
    if looking is None or looking.inside:
        yield from items
        return
    looking.inside = True
    try:
        for done, item in enumerate(items):
            looking.by.step(done, len(items))
            yield item
    finally:
        looking.inside = False


def show(make: Callable[[], Any]) -> None:
    """Let the onlooker, if there is one, see what ``make`` would give; it may leave it unmade."""
    looking = _LOOKING.get()
    if looking is not None:
        looking.by.shows(make)


def showing(ask: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """``ask``, a denoiser, each of whose answers x0 the onlooker sees; ``ask`` itself where nobody looks on."""
    looking = _LOOKING.get()
    if looking is None:
        return ask

    def told(x: Any, level: Any) -> Any:
        x0 = ask(x, level)
        looking.by.shows(lambda: x0)
        return x0

    return told
