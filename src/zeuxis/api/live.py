"""How a training started from Python shows itself: curves and previews in a notebook, a line now and then elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zeuxis.api.page import shown_html
from zeuxis.api.runs import TrainingReport
from zeuxis.escaping import to_stderr
from zeuxis.training.log import GRADIENT, HELD_OUT, MADE, RATE
from zeuxis.training.trainer import Clock

EVERY = 15.0  # seconds between lines of a script
FIGURES = 3  # in a line
LOSS = "loss/"
REDRAWN = 2.0  # seconds between drawings in a notebook


def progress_line(clock: Clock) -> str:
    """The iteration and its newest figures, :data:`FIGURES` at most, two spaces between any two."""
    scalars = [f"{_short(name)} {value:.3g}" for name, value in chosen(clock.notes)]
    return "  ".join([f"iteration {clock.round:,}", *scalars])


def chosen(notes: Mapping[str, float]) -> list[tuple[str, float]]:
    """The figures that say most of how a training goes: the players' losses, the held-out mean, then others."""
    ranks = {LOSS: 0, HELD_OUT: 1, GRADIENT: 3, MADE: 3, RATE: 4}
    return sorted(notes.items(), key=lambda note: ranks.get(f"{note[0].split('/')[0]}/", 2))[:FIGURES]


def _short(name: str) -> str:
    return name.removeprefix(LOSS).removesuffix("/mean")


class Lines:
    """One line on stderr every :data:`EVERY` seconds, and at the end."""

    def __init__(self) -> None:
        self.last = -math.inf

    def __call__(self, clock: Clock, preview: Path | None) -> None:
        now = time.monotonic()
        if now - self.last > EVERY or clock.progress >= 1:
            self.last = now
            to_stderr(f"{clock.progress:4.0%} {progress_line(clock)}")


class Drawing:
    """Losses and the newest preview in a notebook's cell, drawn again as they change."""

    def __init__(self, display: Any) -> None:
        self.display = display  # IPython's display(object, display_id=...), which gives a handle to update
        self.handle: Any = None
        self.last = -math.inf
        self.losses: dict[str, list[tuple[float, float]]] = {}
        self.held_out: dict[str, list[tuple[float, float]]] = {}  # the mean alone

    def __call__(self, clock: Clock, preview: Path | None) -> None:
        for begins, curves in ((LOSS, self.losses), (HELD_OUT, self.held_out)):
            for name, value in clock.notes.items():
                if name.startswith(begins):
                    curves.setdefault(name.removeprefix(begins), []).append((clock.images, value))
        now = time.monotonic()
        if now - self.last <= REDRAWN and clock.progress < 1:
            return
        self.last = now
        shown = Html(
            shown_html(f"{clock.progress:.0%}, iteration {clock.round:,}", self.losses, preview, self.held_out)
        )
        if self.handle is None:
            self.handle = self.display(shown, display_id=True)
        else:
            self.handle.update(shown)


class Html:
    """A piece of HTML, as notebooks ask for it."""

    def __init__(self, html: str) -> None:
        self.html = html

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return "<a drawing for notebooks>"


def notebook_display() -> Any:
    """IPython's ``display``, where this runs in a notebook's kernel; None elsewhere.

    Only what is imported already is looked at: in a notebook IPython is.
    """
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return None
    shell = ipython.get_ipython()
    if shell is None or type(shell).__name__ != "ZMQInteractiveShell":
        return None
    return sys.modules["IPython.display"].display


@contextmanager
def shown_live(quiet: bool) -> Iterator[TrainingReport]:
    """What shows a training under way."""
    display = None if quiet else notebook_display()
    if quiet:
        yield lambda clock, preview: None
    else:
        yield Lines() if display is None else Drawing(display)
