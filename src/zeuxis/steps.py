"""Observers of a sampling loop: told of each step, shown the picture so far, and free to end it.

A method's loop runs over :func:`each_step`, and passes what it would show to :func:`show`. Without an observer (see
:func:`observed`) both cost next to nothing and change nothing. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Observer(Protocol):
    """What is told of a drawing; whatever it raises ends the drawing and reaches whoever asked for it."""

    def step(self, done: int, of: int) -> None:
        """``done`` steps of ``of`` are behind."""
        ...

    def shows(self, make: Callable[[], Any]) -> None:
        """``make()`` is the picture ``(B, C, H, W)`` as it stands, or the latent of it; costs what it costs."""
        ...


class _Observation:
    """An observer, and whether a loop is under way of which it is told: of loops within that it is not."""

    def __init__(self, by: Observer) -> None:
        self.by, self.inside = by, False


_OBSERVATION: ContextVar[_Observation | None] = ContextVar("observation", default=None)


@contextmanager
def observed(by: Observer) -> Iterator[None]:
    """Within it, and in this thread alone, ``by`` is told of every step."""
    token = _OBSERVATION.set(_Observation(by))
    try:
        yield
    finally:
        _OBSERVATION.reset(token)


def each_step(items: Sequence[T]) -> Iterator[T]:
    """``items``; before each the observer, if there is one, is told how many are behind.

    Of a loop within another it is not told.
    """
    observation = _OBSERVATION.get()
    if observation is None or observation.inside:
        yield from items
        return
    observation.inside = True
    try:
        for done, item in enumerate(items):
            observation.by.step(done, len(items))
            yield item
    finally:
        observation.inside = False


def show(make: Callable[[], Any]) -> None:
    """Let the observer, if there is one, see what ``make`` would give; it may leave it unmade."""
    observation = _OBSERVATION.get()
    if observation is not None:
        observation.by.shows(make)


def showing(ask: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """``ask``, a denoiser, each of whose answers x0 the observer sees; ``ask`` itself where nobody observes."""
    observation = _OBSERVATION.get()
    if observation is None:
        return ask

    def told(x: Any, level: Any) -> Any:
        x0 = ask(x, level)
        observation.by.shows(lambda: x0)
        return x0

    return told
