"""When a checkpoint is due: within seconds at first, so that a kill loses little, then more and more seldom."""

from __future__ import annotations

FIRST = 5.0  # seconds from the beginning to the first checkpoint
SHARE = 20.0  # a checkpoint is due again after so many times as long as it took: five per cent of the time


class Saves:
    """Intervals as long as training has lasted or its cost asks for, from :data:`FIRST` seconds up to ``longest``."""

    def __init__(self, longest: float, now: float) -> None:
        self.longest, self.start, self.last = longest, now, now
        self.took = 0.0  # seconds, the last checkpoint

    def due(self, now: float) -> bool:
        """Whether it is time."""
        return now - self.last > min(self.longest, max(FIRST, self.last - self.start, SHARE * self.took))

    def saved(self, began: float, ended: float) -> None:
        """A checkpoint was written between those two times."""
        self.last, self.took = ended, ended - began
