"""What a user asked of the marks in pictures, for all that is written within a command. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Marks:
    """``watermark``: None where it fits, True always (an error where it does not fit), False never; ``credentials``:
    whether files are signed.

    Pictures that were made of a person's own (restored ones) are marked for True alone.
    """

    watermark: bool | None = None
    credentials: bool = False


NOTHING = Marks()
_asked: ContextVar[Marks] = ContextVar("marks", default=NOTHING)


def asked() -> Marks:
    """What holds here."""
    return _asked.get()


@contextmanager
def marking(marks: Marks) -> Iterator[None]:
    """Within this context ``marks`` hold."""
    before = _asked.set(marks)
    try:
        yield
    finally:
        _asked.reset(before)
