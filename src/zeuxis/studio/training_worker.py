"""One training (or one measurement): takes the next of that lane, does it, and ends.

It has a process of its own (:mod:`zeuxis.studio.worker_process`), which ends early where the server does. A training
that is to stop does so as Ctrl-C stops it: after its iteration, all saved. What was stopped for the server's sake is
queued again, and goes on from its checkpoint.
"""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zeuxis.errors import RunInUse
from zeuxis.studio.delivery import deliver, failed
from zeuxis.studio.folders import Folders
from zeuxis.studio.model_cache import ModelCache
from zeuxis.studio.progress import JobProgress, JobsCancelled, ShuttingDown
from zeuxis.studio.queue import Job, JobQueue
from zeuxis.studio.server_input import ServerInput
from zeuxis.studio.task_context import TaskContext
from zeuxis.studio.training_tasks import TRAINING_TASKS
from zeuxis.training.run_lock import run_lock

LOOK = 0.2  # seconds between looks at whether the job is still wanted


class TrainingWorker:
    """Does the trainings of one service, one at a time.

    ``interrupt`` is what stops the work as Ctrl-C would, from another thread; by default nothing is interrupted, and
    the work learns between two reports that it is not wanted.
    """

    def __init__(
        self, folders: Folders, queue: JobQueue, device: str = "cpu", interrupt: Callable[[], None] = lambda: None
    ) -> None:
        self.folders, self.queue, self.interrupt = folders, queue, interrupt
        self.models = ModelCache(device)
        self._ending = threading.Event()
        self._stirred = threading.Event()  # there is something to look at before the next look is due

    def end(self) -> None:
        """End soon, as a training ends that is to stop."""
        self._ending.set()
        self._stirred.set()

    def work(self) -> bool:
        """Do the next job of the lane; whether there was any."""
        self.queue.reclaim("training")
        jobs = self.queue.claim(1, "training")
        for job in jobs:
            self._do(job)
        return bool(jobs)

    def _do(self, job: Job) -> None:
        progress = JobProgress(self.queue, [job.id], self._ending.is_set)
        self.queue.tell([job.id], job.fraction, "starting")
        try:
            with self._watched(progress):
                self._deliver(job, progress)
        except (JobsCancelled, ShuttingDown):
            self.queue.put_back([job.id])  # which leaves one that was cancelled as it is
        except KeyboardInterrupt:  # by ``interrupt``, where no training has taken it over
            self.queue.put_back([job.id])
            raise
        except Exception as error:  # noqa: BLE001  (whatever a job raises is that job's end, and not the worker's)
            failed(self.queue, [job.id], error)

    def _deliver(self, job: Job, progress: JobProgress) -> None:
        def make(draft: Path, final: Path) -> dict[str, object]:
            return TRAINING_TASKS[job.kind](job.request, TaskContext(self.models, self.folders, draft, final, progress))

        deliver(self.queue, self.folders, job, make)

    @contextmanager
    def _watched(self, progress: JobProgress) -> Iterator[None]:
        """Within it the work is interrupted, once, where it is not wanted any more."""
        done, lock = threading.Event(), threading.Lock()
        self._stirred.clear()

        def watch() -> None:
            while not (self._stirred.wait(LOOK) and done.is_set()):
                if self._ending.is_set() or not self.queue.running(progress.jobs):
                    with lock:
                        if not done.is_set():
                            self.interrupt()
                    return

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            with lock:
                done.set()
                self._stirred.set()
            thread.join()


def serve(folders: Folders, queue: JobQueue, device: str, server: ServerInput) -> None:
    """Do the next job of the lane, unless the server's end of the input ends before."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # by which a training is stopped, from another thread
    worker = TrainingWorker(folders, queue, device, _thread.interrupt_main)
    left = threading.Event()

    def end() -> None:
        left.set()
        worker.end()

    server.tells(lambda: None, end)  # that there is work is known already
    home = folders.home / "training"
    home.mkdir(exist_ok=True)
    while not left.is_set():
        try:
            with suppress(KeyboardInterrupt), run_lock(home):  # that of a killed server may still be saving
                worker.work()
            break
        except RunInUse:
            left.wait(LOOK)
