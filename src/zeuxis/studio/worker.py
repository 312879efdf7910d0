"""What owns the models: takes jobs from the queue, draws, and writes what comes of them.

It is the one worker of its folder, in a process of its own (:mod:`zeuxis.studio.worker_process`). What is at work when
that ends is queued again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from zeuxis.api.model import BATCH, BATCH_ELSEWHERE
from zeuxis.conditions import FIELDS, PICTURE_KINDS
from zeuxis.errors import is_out_of_memory
from zeuxis.files import remove_drafts
from zeuxis.studio.commands import sample_command
from zeuxis.studio.delivery import deliver, failed
from zeuxis.studio.drawing import DrawnJob, draw_jobs, saved
from zeuxis.studio.folders import Folders
from zeuxis.studio.model_cache import ModelCache
from zeuxis.studio.progress import JobProgress, JobsCancelled, ShuttingDown
from zeuxis.studio.queue import Job, JobQueue
from zeuxis.studio.server_input import ServerInput
from zeuxis.studio.task_context import TaskContext, picture_entry
from zeuxis.studio.tasks import TASKS

PAUSE = 0.5  # seconds between looks at the queue where nobody says that there is work


class Worker:
    """Works at the jobs of one service, one batch of them at a time."""

    def __init__(self, folders: Folders, queue: JobQueue, device: str = "cpu") -> None:
        self.folders, self.queue = folders, queue
        self.models = ModelCache(device)
        self.most = BATCH.get(device, BATCH_ELSEWHERE)
        self.wake, self._ending = threading.Event(), threading.Event()

    def run(self) -> None:
        """Work until :meth:`end`."""
        self.queue.reclaim()
        while not self._ending.is_set():
            self.wake.clear()
            if not self.work():
                self.models.drop_idle()
                self.wake.wait(PAUSE)

    def end(self) -> None:
        """End soon, between two steps."""
        self._ending.set()
        self.wake.set()

    def work(self) -> bool:
        """Do the next job, or several together; whether there was any."""
        jobs = self.queue.claim(self.most)
        if not jobs:
            return False
        names = [job.id for job in jobs]
        progress = JobProgress(self.queue, names, self._ending.is_set)
        try:
            self._load(jobs)
            if jobs[0].kind == "sample":
                self._draw(jobs, progress)
            else:
                self._do(jobs[0], progress)
        except JobsCancelled:
            pass  # they are cancelled already
        except ShuttingDown:
            self.queue.put_back(names)
        except Exception as error:  # noqa: BLE001  (whatever a job raises is that job's end, and not the worker's)
            if len(names) > 1 and is_out_of_memory(error):  # together they were too much: each has its turn alone
                self.models.drop_all()
                self.queue.put_back(names, alone=True)
            else:
                self._failed(names, error)
        return True

    def _load(self, jobs: Sequence[Job]) -> None:
        path = jobs[0].request.get("path")
        if jobs[0].kind != "restore" and path is not None and path not in self.models:
            self.queue.tell([job.id for job in jobs], 0.0, f"loading {jobs[0].request.get('model', path)}")

    def _draw(self, jobs: Sequence[Job], progress: JobProgress) -> None:
        model = self.models.get(jobs[0].request["path"])
        for drawn in draw_jobs(jobs, model, self.folders, progress):
            if drawn.error is not None:
                self._failed([drawn.job.id], drawn.error)
            else:
                self._deliver(drawn.job, progress, self._drawn_result(drawn))

    def _drawn_result(self, drawn: DrawnJob) -> Callable[[TaskContext], dict[str, Any]]:
        request = drawn.job.request

        def result(context: TaskContext) -> dict[str, Any]:
            pictures = {name: value for name, value in drawn.condition.items() if FIELDS[name].kind in PICTURE_KINDS}
            command = sample_command(
                request["path"], drawn.job.pictures, request["seed"], request["size"], drawn.condition, request["knobs"]
            )
            entries = [picture_entry(context, file, pictures) for file in saved(drawn, context.draft)]
            return {"pictures": entries, "command": command, "notes": list(drawn.unread)}

        return result

    def _do(self, job: Job, progress: JobProgress) -> None:
        self._deliver(job, progress, lambda context: TASKS[job.kind](job.request, context))

    def _deliver(self, job: Job, progress: JobProgress, make: Callable[[TaskContext], dict[str, Any]]) -> None:
        """What ``make`` writes becomes the job's folder at once, and then the job is done."""
        deliver(
            self.queue,
            self.folders,
            job,
            lambda draft, final: make(TaskContext(self.models, self.folders, draft, final, progress)),
        )

    def _failed(self, names: Sequence[str], error: Exception) -> None:
        if failed(self.queue, names, error) == "memory":
            self.models.drop_all()


def serve(folders: Folders, queue: JobQueue, device: str, server: ServerInput) -> None:
    """Work until the server's end of the input ends."""
    worker = Worker(folders, queue, device)
    server.tells(worker.wake.set, worker.end)
    for folder in (folders.jobs, folders.uploads):
        remove_drafts(folder, time.time())  # that kills have left there
    worker.run()
