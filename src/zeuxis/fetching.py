"""Nothing that a file says reaches the network: what fetches asks here first whether a person named it.

A model's card and a picture's record name data, and may come from anyone. What they name is used where it is on this
machine, and fetched only when it is asked for by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from zeuxis.errors import DataError


class Unasked(DataError):
    """Something that would be fetched, and that only a file named."""


_NAMED_BY: ContextVar[tuple[str, str] | None] = ContextVar("named_by", default=None)


@contextmanager
def named_by(file: str, mend: str) -> Iterator[None]:
    """Within this context what is opened was named by ``file`` alone ("the card of 'x'"), and nothing is fetched.

    ``mend`` is how a person asks for it.
    """
    before = _NAMED_BY.set((file, mend))
    try:
        yield
    finally:
        _NAMED_BY.reset(before)


def named_in() -> str | None:
    """The file that alone named what is opened ("the card of 'x'"); None where a person did."""
    named = _NAMED_BY.get()
    return None if named is None else named[0]


def require_asked(what: str) -> None:
    """Raise :class:`Unasked` where only a file named ``what``, which is about to be fetched."""
    named = _NAMED_BY.get()
    if named is not None:
        file, mend = named
        raise Unasked(
            f"{file} names {what}, which is not on this machine, and nothing is fetched that only a file asks for: "
            f"{mend}"
        )
