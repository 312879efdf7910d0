"""What reading a checkpoint may take, and how a file that takes more is refused."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PICKLE = 64 << 20  # bytes of pickle, tensors not counted
MAX_ITEMS = 1_000_000  # values in the tree that it unfolds to
MAX_DEPTH = 100
MAX_STEPS = 20_000_000  # of the machine: some ten a tensor are usual
MAX_SECONDS = 600  # of processor time
MAX_WORK = 50_000_000  # values that are copied from one to another while the pickle is read
MAX_TEXT = 64 << 20  # characters of all names and texts that are written down
MAX_NAME = 4096  # characters of the name of a tensor
MAX_MEMBERS = 1_000_000  # of a zip file


class Refused(Exception):
    """Why a file is not converted, in one line."""


@dataclass(slots=True)
class WorkBound:
    """What reading one file may take, files within it included: however it is divided, it is spent once.

    ``room`` counts the bytes of numbers that may yet be taken out of its pickles: no more than there are.
    """

    room: int
    work: int = 0

    def take(self, length: int) -> None:
        """Account for numbers that a pickle itself holds: a short one can name them over and over."""
        self.room -= length
        if self.room < 0:
            raise Refused("it names the same numbers over and over")

    def spend(self, values: int) -> None:
        """Account for ``values`` that are copied: a short file can have a long list copied over and over."""
        self.work += values
        if self.work > MAX_WORK:
            raise Refused(f"it takes more than {MAX_WORK:,} copied values to read (bound: MAX_WORK)")
