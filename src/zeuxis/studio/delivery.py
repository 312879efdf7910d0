"""How a worker ends a job: what it made becomes the job's folder at once, or why it failed is told."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zeuxis.errors import ZeuxisError, is_out_of_memory
from zeuxis.files import draft_folder
from zeuxis.studio.folders import Folders
from zeuxis.studio.queue import Fault, Job, JobQueue


def deliver(queue: JobQueue, folders: Folders, job: Job, make: Callable[[Path, Path], dict[str, Any]]) -> None:
    """What ``make(draft, final)`` writes into the folder ``draft`` becomes ``final``, and then the job is done."""
    final = folders.job(job.id)
    with draft_folder(final) as draft:
        result = make(draft, final)
        if not queue.running([job.id]):
            return
        shutil.rmtree(final, ignore_errors=True)  # of a worker that was killed before it could say that it was done
        draft.rename(final)
    if not queue.finish(job.id, result):
        folders.forget(job.id)  # it was cancelled meanwhile


def failed(queue: JobQueue, names: Sequence[str], error: Exception) -> Fault:
    """Tell why jobs failed; returns whose fault it was."""
    fault = fault_of(error)
    text = str(error) or type(error).__name__
    if fault == "internal":
        traceback.print_exception(error)
        text = f"{type(error).__name__}: {text.splitlines()[0]} (a mistake in Zeuxis)"
    elif fault == "memory":
        text = "there was not enough memory: ask for fewer or smaller pictures, or end other programs"
    for name in names:
        queue.fail(name, fault, text)
    return fault


def fault_of(error: Exception) -> Fault:
    """Whose fault an error is."""
    if is_out_of_memory(error):
        return "memory"
    if isinstance(error, ZeuxisError):
        return "usage" if error.exit_code == 2 else "failed"
    return "internal"
