"""How long work shows itself on stderr: a bar at a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from zeuxis.cli.output import duration, note
from zeuxis.escaping import printable

BAR, PERCENT = 10, 4  # characters
EVERY = 15.0  # seconds between lines where there is no terminal


def fitted(message: str, room: int) -> str:
    """``message`` without the last of its parts, which two spaces divide, that do not fit into ``room`` characters."""
    parts = message.split("  ")
    while len(parts) > 1 and len("  ".join(parts)) > room:
        parts.pop()
    return "  ".join(parts)


class Progress:
    """``progress(message, fraction, remaining)`` shows the newest state; use it as a context manager."""

    def __init__(self) -> None:
        self.last = ("", -EVERY)  # the last message and when it was shown
        self.share, self.since = 1.0, (0.0, 0.0)  # the last fraction; the first of this stage, and when
        self.bar = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn
            from rich.progress import Progress as Bar
            from rich.table import Column

            # One line, whatever the terminal's width.
            words = Column(no_wrap=True, overflow="ellipsis", ratio=1)
            columns = (
                BarColumn(bar_width=BAR, table_column=Column(width=BAR, no_wrap=True)),
                TaskProgressColumn(table_column=Column(width=PERCENT, no_wrap=True)),
                TextColumn("{task.fields[left]}{task.description}", markup=False, table_column=words),
            )
            self.bar = Bar(*columns, console=Console(stderr=True), expand=True)
            self.task = self.bar.add_task("", total=1.0, left="")

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()

    def abandon(self) -> None:
        """Give the terminal back as it was, from any thread, without waiting for anything."""
        if self.bar:
            self.bar.console.show_cursor(True)

    def __call__(self, message: str, fraction: float | None = None, remaining: float | None = None) -> None:
        if remaining is None and fraction is not None:
            remaining = self._remaining(fraction)
        left = "" if remaining is None or fraction == 1 else f"{duration(remaining)} left"
        if self.bar:
            left = f"{left}  " if left else ""
            room = self.bar.console.width - BAR - PERCENT - 2 - len(left)
            self.bar.update(
                self.task, description=fitted(printable(message), room), left=left, completed=fraction or 0.0
            )
            return
        now, (last, when) = time.monotonic(), self.last
        # A new stage is shown at once; a change of figures within one, now and then.
        if (fraction is None and message != last) or now - when > EVERY or (fraction or 0) >= 1:
            self.last = (message, now)
            share = "" if fraction is None else f"{fraction:4.0%} "
            note(f"{share}{message}{', ' + left if left else ''}")

    def _remaining(self, fraction: float) -> float | None:
        """Seconds to the end of this stage at its pace so far; work done before it was resumed tells no pace."""
        now = time.monotonic()
        if fraction < self.share:  # a new stage
            self.since = (fraction, now)
        self.share = fraction
        first, then = self.since
        return (now - then) * (1 - fraction) / (fraction - first) if fraction > first else None
