"""Sampling for several requests at once: one batch, in which every picture is what it is alone, within rounding.

Picture k of a request is that of seed s + k (:mod:`zeuxis.rng`), so that requests of one model, size and setting of the
knobs are rows of one batch. The record of each holds the batch and its row, so that a replay is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zeuxis.api.model import Model
from zeuxis.api.pictures import Pictures
from zeuxis.batch import Condition
from zeuxis.errors import Unsupported, UsageError, ZeuxisError
from zeuxis.knobs import Sampling
from zeuxis.spec import parse_size
from zeuxis.steps import observed
from zeuxis.studio.folders import Folders, with_paths
from zeuxis.studio.progress import DrawProgress, JobProgress
from zeuxis.studio.queue import Job

SAID_BY_PROMPT = ("caption", "instruction", "label")  # what a prompt means to a model, the first that it obeys


@dataclass(frozen=True)
class DrawnJob:
    """A job of a batch: what steers its pictures, as the command line takes it; and they, or why there are none."""

    job: Job
    condition: Mapping[str, Any]
    unread: tuple[str, ...] = ()
    pictures: Pictures | None = None
    error: ZeuxisError | None = None


@dataclass(frozen=True)
class _Rows:
    """A job whose condition has been read."""

    job: Job
    asked: Mapping[str, Any]
    condition: Condition
    unread: tuple[str, ...]

    @property
    def shape(self) -> tuple[Any, ...]:
        """What must agree for two jobs to be of one batch."""
        fields = sorted(self.condition.given)
        values = (getattr(self.condition, name) for name in fields)
        return tuple((n, v.shape[1:] if isinstance(v, Tensor) else ()) for n, v in zip(fields, values, strict=True))


def draw_jobs(jobs: Sequence[Job], model: Model, folders: Folders, progress: JobProgress) -> list[DrawnJob]:
    """The pictures of jobs of one batch key: of one model, one size and one setting of the knobs."""
    request = jobs[0].request
    drawn = model.at(parse_size(request["size"]))
    how = Sampling(**request["knobs"])
    drawn.check(how)
    done, batches = list[DrawnJob](), dict[tuple[Any, ...], list[_Rows]]()
    for job in jobs:
        asked = dict(with_paths(job.request["condition"], folders))
        try:
            asked |= _of_prompt(job.request["prompt"], asked, drawn)
            rows = _Rows(job, asked, drawn.condition(job.pictures, **asked), drawn.unread(how, **asked))
        except ZeuxisError as error:
            done.append(DrawnJob(job, asked, error=error))
        else:
            batches.setdefault(rows.shape, []).append(rows)
    total = sum(rows.job.pictures for batch in batches.values() for rows in batch)
    begun = 0
    for batch in batches.values():
        done += _draw_batch(batch, drawn, how, progress, begun, total)
        begun += sum(rows.job.pictures for rows in batch)
    return done


def _draw_batch(
    batch: Sequence[_Rows], model: Model, how: Sampling, progress: JobProgress, begun: int, total: int
) -> list[DrawnJob]:
    seeds = [rows.job.request["seed"] + k for rows in batch for k in range(rows.job.pictures)]
    condition = Condition.joined([rows.condition for rows in batch])
    first, at = dict[str, tuple[int, int]](), 0  # the first row of each job, and how many partial pictures it wants
    for rows in batch:
        first[rows.job.id] = (at, rows.job.request["partials"])
        at += rows.job.pictures
    how, size = model.fitted(how, len(seeds)), model.at_a_time()
    images, records = list[Tensor](), list[dict[str, Any]]()
    for start in range(0, len(seeds), size):
        here, some = slice(start, start + size), seeds[start : start + size]
        partials = {job: (row - start, wanted) for job, (row, wanted) in first.items() if start <= row < start + size}
        progress.check()
        with observed(DrawProgress(progress, model, begun + start, len(some), total, partials)):
            images.append(model.draw(condition[here], some, how, len(some)))
        records += model.records(some, condition[here], how, len(some))
    all_images, found = torch.cat(images), list[DrawnJob]()
    for rows in batch:
        row = first[rows.job.id][0]
        mine = slice(row, row + rows.job.pictures)
        found.append(DrawnJob(rows.job, rows.asked, rows.unread, Pictures(all_images[mine], tuple(records[mine]))))
    return found


def _of_prompt(prompt: str | None, asked: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """The field that a prompt is for this model."""
    if not prompt:
        return {}
    takes = [name for name in SAID_BY_PROMPT if name in model.system.conditions and name not in asked]
    if not takes:
        raise Unsupported(f"'{model.name}' obeys no text, so that a prompt means nothing to it: leave the prompt empty")
    if takes[0] == "label" and prompt.strip() not in model.classes and not prompt.strip().isdecimal():
        known = ", ".join(model.classes[:20])
        raise UsageError(f"'{model.name}' draws classes: as the prompt give one of {known}")
    return {takes[0]: prompt.strip() if takes[0] == "label" else prompt}


def saved(drawn: DrawnJob, folder: Path) -> list[Path]:
    """The files of a job's pictures, in ``folder``."""
    assert drawn.pictures is not None
    return drawn.pictures.save(folder)
