"""How many pixels may be decoded at one time, over all threads: many small pictures, or one large one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Room:
    """A number of ``pixels`` that is shared. Who asks for more than all of it waits until it is alone."""

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self.taken = 0
        self._changed = Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Hold ``pixels`` of it for the length of the block; waits until they are free."""
        share = min(pixels, self.pixels)
        with self._changed:
            self._changed.wait_for(lambda: self.taken + share <= self.pixels)
            self.taken += share
        try:
            yield
        finally:
            with self._changed:
                self.taken -= share
                self._changed.notify_all()
