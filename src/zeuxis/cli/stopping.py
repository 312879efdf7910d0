"""How a command that trains is stopped: its training ends after its round, and a second Ctrl-C ends it at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from zeuxis.cli.output import note
from zeuxis.cli.progress import Progress
from zeuxis.errors import exit_code_of


@contextmanager
def training_progress() -> Iterator[Progress]:
    """The progress of what trains; within it the first signal is told of, and a second Ctrl-C is heard at once."""
    from zeuxis.training.signals import leaving

    with Progress() as progress, leaving(stops_soon, partial(left, progress)):
        yield progress


def stops_soon(by: str) -> None:
    """Say that a signal was heard: what it brings about may take a while."""
    note(f"note: {by}: saves after this iteration and stops; Ctrl-C again leaves at once, and saves nothing")


def left(progress: Progress, kept: str) -> None:
    """End this process in the midst of its work, which a second Ctrl-C asked for; nothing half written has a name."""
    progress.abandon()
    note(f"zeuxis: stopped by SIGINT, given again: {kept}")
    os._exit(exit_code_of("SIGINT"))
