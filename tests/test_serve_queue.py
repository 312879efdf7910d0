"""The queue of the service: each job is claimed and ends once, in order, whoever is killed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import Served
from starlette.testclient import TestClient

from zeuxis.studio.app import create_app
from zeuxis.studio.queue import MOST_TRIES, JobQueue, QueueBroken, QueueFull
from zeuxis.studio.server_input import ServerInput
from zeuxis.studio.supervisor import Supervisor


@pytest.fixture
def queue(tmp_path: Path) -> JobQueue:
    return JobQueue(tmp_path / "jobs.sqlite", most=6)


def test_a_job_waits_runs_and_is_done(queue: JobQueue, tmp_path: Path) -> None:
    job = queue.add("sample", {"model": "perlin"}, 2)
    assert job.state == "queued" and job.request == {"model": "perlin"} and queue.ahead(job.id) == 0
    worker = JobQueue(tmp_path / "jobs.sqlite")
    before = queue.version
    (claimed,) = worker.claim()
    assert claimed.id == job.id and claimed.state == "running" and claimed.tries == 1
    assert queue.version != before and worker.claim() == []
    worker.tell([job.id], 0.5, "step 2 of 4")
    worker.show(job.id, 0, b"png")
    told = queue.get(job.id)
    assert told is not None and (told.fraction, told.message) == (0.5, "step 2 of 4")
    assert queue.partials(job.id) == [(0, b"png")]
    assert worker.finish(job.id, {"pictures": []}) and not worker.finish(job.id, {"pictures": [1]})
    found = queue.get(job.id)
    assert found is not None and found.state == "done" and found.result == {"pictures": []} and found.fraction == 1
    assert queue.partials(job.id) == [] and queue.counts() == {"done": 1}


def test_jobs_of_one_batch_key_are_claimed_together_as_far_as_they_fit(queue: JobQueue) -> None:
    names = [
        queue.add("sample", {}, n, batch_key).id for n, batch_key in ((2, "a"), (1, "b"), (2, "a"), (3, "a"), (1, "a"))
    ]
    assert [job.id for job in queue.claim(5)] == [
        names[0],
        names[2],
    ]  # the fourth does not fit, and nobody overtakes it
    assert [job.id for job in queue.claim(5)] == [names[1]]
    assert [job.id for job in queue.claim(5)] == [names[3], names[4]]


def test_what_is_cancelled_is_neither_claimed_nor_finished(queue: JobQueue) -> None:
    waiting, running = queue.add("sample", {}), queue.add("sample", {})
    queue.cancel(waiting.id)
    assert [job.id for job in queue.claim()] == [running.id]
    queue.cancel(running.id)
    assert queue.running([running.id]) == [] and not queue.finish(running.id, {})
    queue.tell([running.id], 1.0, "late")
    queue.show(running.id, 0, b"late")
    ended = queue.get(running.id)
    assert ended is not None and ended.state == "cancelled" and ended.message == "" and not queue.partials(running.id)


def test_a_dead_workers_jobs_are_queued_again_and_given_up_at_last(queue: JobQueue) -> None:
    job, other = queue.add("sample", {}), queue.add("sample", {})
    for _ in range(MOST_TRIES):
        assert queue.reclaim() == []
        assert queue.claim()[0].id == job.id
    assert queue.reclaim() == [job.id] and queue.claim()[0].id == other.id
    lost = queue.get(job.id)
    assert lost is not None and lost.state == "failed" and lost.fault == "lost"
    queue.put_back([other.id])
    again = queue.get(other.id)
    assert again is not None and again.state == "queued" and again.tries == 0


def test_no_more_jobs_wait_than_are_taken(queue: JobQueue) -> None:
    names = [queue.add("sample", {}).id for _ in range(6)]
    with pytest.raises(QueueFull):
        queue.add("sample", {})
    queue.cancel(names[0])
    queue.add("sample", {})
    assert not queue.remove(names[1]) and queue.remove(names[0]) and queue.get(names[0]) is None
    assert [job.id for job in queue.newest(2, before=names[3])] == [names[2], names[1]]


def until(true: Callable[[], bool]) -> None:
    """Wait for what happens in the other process; the suite's timeout ends what never does."""
    while not true():
        time.sleep(0.01)  # between two looks


def test_a_worker_that_is_killed_loses_no_job_and_none_is_done_twice(tmp_path: Path) -> None:
    served = Served(tmp_path / "runs")
    queue = served.service.queue
    with queue._writing() as file:  # counts how often each job has come to its end
        file.execute("CREATE TABLE ends (job TEXT)")
        file.execute(
            "CREATE TRIGGER ended AFTER UPDATE OF state ON jobs WHEN NEW.state = 'done' "
            "BEGIN INSERT INTO ends VALUES (NEW.id); END"
        )
    long = served.submit(kind="sample", model="scenes", n=16, prompt="a small red circle", knobs={"steps": 1000})["id"]
    names = [
        served.submit(kind="sample", model=model)["id"] for model in ("perlin", "turtle", "perlin", "cvae", "perlin")
    ]
    supervisor = Supervisor(tmp_path / "runs", queue)
    supervisor.start()
    try:
        until(lambda: bool(queue.running([long])))
        first = supervisor.process
        assert first is not None
        os.kill(first, signal.SIGKILL)
        queue.cancel(long)
        until(lambda: all(job.has_ended for job in map(queue.get, names) if job))
        assert supervisor.process not in (None, first)
    finally:
        supervisor.stop()
    assert supervisor.process is None
    with queue._writing() as file:
        ends = [name for (name,) in file.execute("SELECT job FROM ends")]
    assert sorted(ends) == sorted(names)
    assert all((served.folders.job(name) / "0000.png").is_file() for name in names)


def test_a_queue_whose_batch_key_had_another_name_is_read_on(tmp_path: Path) -> None:
    first = JobQueue(tmp_path / "jobs.sqlite")
    name = first.add("sample", {}, batch_key="a").id
    with first._writing() as file:
        file.execute("ALTER TABLE jobs RENAME COLUMN batch_key TO company")
    first.close()
    again = JobQueue(tmp_path / "jobs.sqlite")
    again.add("sample", {}, batch_key="a")
    assert [job.id for job in again.claim(5)][:1] == [name] and again.counts() == {"running": 2}


def test_a_queue_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "other.sqlite").write_bytes(b"no file of a queue" * 100)
    with pytest.raises(
        QueueBroken, match="is no queue of the service, or damaged: file is not a database; move it away"
    ):
        JobQueue(tmp_path / "other.sqlite")
    (tmp_path / "folder").mkdir()
    with pytest.raises(QueueBroken, match="unable to open database file"):
        JobQueue(tmp_path / "folder")


def test_a_full_disk_is_told_and_passes(queue: JobQueue, tmp_path: Path) -> None:
    queue.add("sample", {})
    with queue._reading() as file:
        (pages,) = file.execute("PRAGMA page_count").fetchone()
        file.execute(f"PRAGMA max_page_count = {pages}")  # as if the disk had room for no more
    with pytest.raises(QueueBroken, match="database or disk is full; free some space"):
        queue.add("sample", {"prompt": "x" * 100_000})
    with queue._reading() as file:
        file.execute("PRAGMA max_page_count = 100000")
    queue.add("sample", {"prompt": "x" * 100_000})
    assert queue.counts() == {"queued": 2}


def test_a_supervisor_outlives_what_passes(
    queue: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor, calls = Supervisor(tmp_path / "runs", queue), list[str]()

    def begun(*args: object, **settings: object) -> None:
        calls.append("begun")
        if len(calls) > 2:
            supervisor._ending.set()
        raise OSError(12, "Cannot allocate memory") if len(calls) == 1 else QueueBroken("the disk is full")

    monkeypatch.setattr("zeuxis.studio.supervisor.subprocess.Popen", begun)
    monkeypatch.setattr("zeuxis.studio.supervisor.MOST_PAUSE", 0.0)
    supervisor._keep()
    assert calls == ["begun"] * 3
    assert "no worker for now" in capsys.readouterr().err


def test_who_waits_is_told_where_no_worker_starts(
    queue: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor, name = Supervisor(tmp_path / "runs", queue), queue.add("sample", {}).id
    states = list[str]()

    def ended() -> int:
        states.append(queue.get(name).state)  # type: ignore[union-attr]
        if len(states) == 4:
            supervisor._ending.set()
        return 1

    monkeypatch.setattr(supervisor, "_run", ended)
    monkeypatch.setattr("zeuxis.studio.supervisor.MOST_PAUSE", 0.0)
    supervisor._keep()
    job = queue.get(name)
    assert states == ["queued", "queued", "queued", "failed"]
    assert job is not None and job.fault == "lost" and "does not start (it ended 3 times, with 1)" in str(job.error)


def test_a_worker_that_dies_at_a_job_has_started(queue: JobQueue, tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "runs", queue)
    waits = [queue.add("sample", {}).id for _ in range(2)][1]
    queue.claim()
    for _ in range(9):
        supervisor._count(-9)
    assert queue.get(waits).state == "queued"  # type: ignore[union-attr]


def test_a_worker_does_not_take_a_file_where_one_is_for_a_module(
    queue: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('of a stranger')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert "-P" in Supervisor(tmp_path / "runs", queue).command
    monkeypatch.syspath_prepend(str(tmp_path))  # python -m zeuxis, within a checkout that is not installed
    assert "-P" not in Supervisor(tmp_path / "runs", queue).command


def test_a_worker_that_is_still_loading_ends_with_its_server_at_once() -> None:
    """Loading takes seconds, and more on a busy machine: nobody who ends the service waits for that."""
    script = """if True:
        import threading
        from zeuxis.studio.server_input import ServerInput

        ServerInput().listen()
        threading.Event().wait()  # as loading would, for ever
        """
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.close()
    assert process.wait() == 0


def test_a_worker_is_told_of_an_end_that_came_before_it_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = list[str]()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n\n")))
    early, late = ServerInput(), ServerInput()
    early.tells(lambda: heard.append("work"), lambda: heard.append("end"))
    early._hear()
    assert heard == ["work", "work", "end"]
    monkeypatch.setattr("zeuxis.studio.server_input.os._exit", lambda code: heard.append(f"left with {code}"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    late._hear()
    late.tells(lambda: None, lambda: heard.append("late"))
    assert heard[3:] == ["left with 0", "late"]


def test_all_workers_are_told_to_end_before_any_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = list[str]()

    class Told(Supervisor):
        def start(self) -> None: ...

        def end(self) -> None:
            told.append(f"end {self.lane}")

        def stop(self) -> None:
            told.append(f"wait for {self.lane}")

    monkeypatch.setattr("zeuxis.studio.app.Supervisor", Told)
    with TestClient(create_app(tmp_path)):
        assert told == []
    assert told == ["end drawing", "end training", "wait for drawing", "wait for training"]


def test_a_worker_that_died_before_it_was_told_of_work_is_no_trouble_at_the_end(
    queue: JobQueue, tmp_path: Path
) -> None:
    """What it was told last cannot be written any more, and Python tries again when the pipe is closed."""
    supervisor = Supervisor(tmp_path / "runs", queue)
    process = subprocess.Popen([sys.executable, "-c", "pass"], stdin=subprocess.PIPE)
    process.wait()
    supervisor._process = process
    supervisor.wake()
    supervisor.end()
    assert process.stdin is not None and process.stdin.closed
