"""What the worker tells of jobs while they are at work, and how it learns that they are not wanted any more."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from zeuxis.api.model import Model
from zeuxis.api.pictures import to_pil
from zeuxis.studio.queue import JobQueue

EVERY = 0.1  # seconds between two tellings


class JobsCancelled(Exception):
    """Every job at work was cancelled."""


class ShuttingDown(Exception):
    """The worker itself is to end."""


class JobProgress:
    """Tells the queue how far ``jobs`` are, and ends the work where none of them is wanted.

    ``ending`` says whether the worker is to end.
    """

    def __init__(self, queue: JobQueue, jobs: Sequence[str], ending: Callable[[], bool]) -> None:
        self.queue, self.jobs, self.ending = queue, jobs, ending
        self.told, self.version = 0.0, queue.version

    def __call__(self, message: str, fraction: float | None) -> None:
        """The way in which the library reports."""
        self.check()
        now = time.monotonic()
        if now - self.told >= EVERY:
            self.told = now
            self.queue.tell(self.jobs, min(1.0, max(0.0, fraction or 0.0)), message)

    def check(self) -> None:
        """Raise :class:`JobsCancelled` or :class:`ShuttingDown` where that is so."""
        if self.ending():
            raise ShuttingDown
        version = self.queue.version
        if version != self.version:
            self.version = version
            if not self.queue.running(self.jobs):
                raise JobsCancelled


class StepCheck:
    """An observer (:mod:`zeuxis.steps`) of any drawing, which ends it where its job is not wanted any more."""

    def __init__(self, progress: JobProgress) -> None:
        self.progress = progress

    def step(self, done: int, of: int) -> None:
        self.progress.check()

    def shows(self, make: Callable[[], Any]) -> None:
        pass  # what is drawn is looked at in the end


class DrawProgress:
    """An observer (:mod:`zeuxis.steps`) of one batch of a drawing: pictures ``begun`` to ``begun + size`` of ``all``.

    ``partials`` are the rows of the batch whose unfinished pictures are wanted, by job, and how many of them.
    """

    def __init__(
        self,
        progress: JobProgress,
        model: Model,
        begun: int,
        size: int,
        all: int,
        partials: Mapping[str, tuple[int, int]],
    ) -> None:
        self.progress, self.model, self.begun, self.size, self.all = progress, model, begun, size, all
        self.partials = dict(partials)
        self.at = (0, 1)
        self.shown = dict.fromkeys(self.partials, 0)

    def step(self, done: int, of: int) -> None:
        self.at = (done, of)
        fraction = (self.begun + self.size * done / of) / self.all
        self.progress(f"step {done + 1} of {of}", fraction)

    def shows(self, make: Callable[[], Any]) -> None:
        done, of = self.at
        due = {
            job: row
            for job, (row, wanted) in self.partials.items()
            if self.shown[job] < wanted and (done + 1) * (wanted + 1) >= (self.shown[job] + 1) * of and done + 1 < of
        }
        if not due:
            return
        pictures = self._pictures(make())
        for job, row in due.items():
            self.progress.queue.show(job, self.shown[job], png_of(pictures[row]))
            self.shown[job] += 1

    def _pictures(self, made: Tensor) -> Tensor:
        """``made`` as pictures ``(B, C, H, W)``: decoded, where it is latents."""
        if tuple(made.shape[1:]) == tuple(self.model.system.shape):
            return made.float().clamp(-1, 1)
        return self.model.system.decode(made).float().clamp(-1, 1)


def png_of(image: Tensor) -> bytes:
    """An image ``(C, H, W)`` in [-1, 1] as a PNG without a record: it is unfinished."""
    out = io.BytesIO()
    to_pil(image.cpu()).save(out, "PNG")
    return out.getvalue()
