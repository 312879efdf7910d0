"""Jobs that wait, run and are done, in a file of SQLite that outlives any kill.

A job is ``queued``, then ``running``, then one of ``done``, ``failed`` and ``cancelled``. The server adds and cancels;
the one worker of its lane claims, tells how far it is, and finishes. What a killed worker left running is queued again,
and a job that took its worker with it :data:`MOST_TRIES` times has failed. No lane waits for another: a training of
hours holds up no drawing. Times are seconds since 1970. Imports no torch.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from zeuxis.errors import ZeuxisError

State = Literal["queued", "running", "done", "failed", "cancelled"]
Fault = Literal["usage", "failed", "memory", "lost", "internal"]  # why a job failed: the user's, ..., a mistake of ours
Lane = Literal["drawing", "training"]  # one worker each
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")
MOST_TRIES = 3
BUSY = 30.0  # seconds to wait for another process to let go of the file
TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, kind TEXT NOT NULL, batch_key TEXT,
    pictures INTEGER NOT NULL, request TEXT NOT NULL, state TEXT NOT NULL, fraction REAL NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '', created REAL NOT NULL, started REAL, ended REAL, tries INTEGER NOT NULL DEFAULT 0,
    fault TEXT, error TEXT, result TEXT, lane TEXT NOT NULL DEFAULT 'drawing');
CREATE INDEX IF NOT EXISTS by_state ON jobs (state, number);
CREATE TABLE IF NOT EXISTS partials (
    job TEXT NOT NULL, number INTEGER NOT NULL, png BLOB NOT NULL, PRIMARY KEY (job, number));
"""
LANE = "ALTER TABLE jobs ADD COLUMN lane TEXT NOT NULL DEFAULT 'drawing'"  # of queues of before there were lanes


class QueueFull(ZeuxisError):
    """So many jobs wait that no more are taken."""


class QueueBroken(ZeuxisError):
    """The file of the jobs cannot be opened, read or written: no room, no permission, or damaged."""


class JobFacts(BaseModel):
    """What is known of a job as it stands, but for what it came to; ``fraction`` of it is done."""

    model_config = ConfigDict(frozen=True)

    id: str
    kind: str
    lane: Lane
    state: State
    fraction: float
    message: str
    pictures: int
    request: dict[str, Any]
    created: float
    started: float | None
    ended: float | None
    tries: int
    fault: Fault | None
    error: str | None


class Job(JobFacts):
    """One job as it stands. ``result`` is what its kind of job comes to."""

    result: dict[str, Any] | None

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDED


COLUMNS = ", ".join(Job.model_fields)


class JobQueue:
    """The jobs in the file ``path``. An object is for one process, and for all of its threads."""

    def __init__(self, path: Path, most: int = 256) -> None:
        self.path, self.most = path, most
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock, self._writes = threading.RLock(), 0
        with self._explained():
            self._file = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=NORMAL")
            self._file.executescript(TABLES)
            columns = {column for _, column, *_ in self._file.execute("PRAGMA table_info(jobs)")}
            if "batch_key" not in columns:  # a queue of before 2026-11-30
                self._file.execute("ALTER TABLE jobs RENAME COLUMN company TO batch_key")
            if "lane" not in columns:
                self._file.execute(LANE)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._file.close()

    @property
    def version(self) -> tuple[int, int]:
        """What differs after any change, by whomever; costs microseconds."""
        with self._reading() as file:
            return file.execute("PRAGMA data_version").fetchone()[0], self._writes

    # -- the server's side ------------------------------------------------------------------------

    def add(
        self,
        kind: str,
        request: dict[str, Any],
        pictures: int = 1,
        batch_key: str | None = None,
        lane: Lane = "drawing",
    ) -> Job:
        """A new job. Those of the same ``batch_key`` may be drawn together. Raises :class:`QueueFull`."""
        name = secrets.token_hex(8)
        with self._writing() as file:
            (waiting,) = file.execute("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')").fetchone()
            if waiting >= self.most:
                raise QueueFull(f"{waiting} jobs wait already, which is as many as are taken: try again later")
            file.execute(
                "INSERT INTO jobs (id, kind, batch_key, pictures, request, state, created, lane) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (name, kind, batch_key, pictures, json.dumps(request), "queued", time.time(), lane),
            )
        found = self.get(name)
        assert found is not None  # it was just put there
        return found

    def get(self, name: str) -> Job | None:
        """The job of that id; None where there is none."""
        return next(iter(self._read("WHERE id = ?", name)), None)

    def newest(
        self,
        n: int,
        before: str | None = None,
        state: State | None = None,
        kind: str | None = None,
        lane: Lane | None = None,
    ) -> list[Job]:
        """Jobs, the newest first: ``n`` at most, those ``before`` another alone, of one ``state``, ``kind`` or ``lane``
        alone."""
        where, values = ["1"], list[Any]()
        if before is not None:
            where.append("number < (SELECT number FROM jobs WHERE id = ?)")
            values.append(before)
        for column, value in (("state", state), ("kind", kind), ("lane", lane)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        return self._read(f"WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT ?", *values, n)

    def cancel(self, name: str) -> Job | None:
        """End a job that has not ended; the worker learns of it between two steps. What has ended stays as it is."""
        with self._writing() as file:
            file.execute(
                "UPDATE jobs SET state = 'cancelled', ended = ? WHERE id = ? AND state IN ('queued', 'running')",
                (time.time(), name),
            )
            file.execute("DELETE FROM partials WHERE job = ?", (name,))
        return self.get(name)

    def resume(self, name: str) -> bool:
        """Queue a job again that was cancelled or has failed, as if it had not been begun; whether there was one."""
        with self._writing() as file:
            query = (
                "UPDATE jobs SET state = 'queued', message = '', tries = 0, started = NULL, ended = NULL, "
                "fault = NULL, error = NULL WHERE id = ? AND state IN ('cancelled', 'failed')"
            )
            return bool(file.execute(query, (name,)).rowcount)

    def remove(self, name: str) -> bool:
        """Forget a job that has ended; whether there was one."""
        with self._writing() as file:
            gone = file.execute(f"DELETE FROM jobs WHERE id = ? AND state IN {ENDED}", (name,)).rowcount
        return bool(gone)

    def ahead(self, name: str) -> int:
        """How many jobs will be begun before this one."""
        with self._reading() as file:
            query = (
                "SELECT count(*) FROM jobs JOIN (SELECT number AS own, lane AS its FROM jobs WHERE id = ?) "
                "WHERE state = 'queued' AND lane = its AND number < own"
            )
            return int(file.execute(query, (name,)).fetchone()[0])

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        with self._reading() as file:
            return dict(file.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())

    def partials(self, name: str, since: int = 0) -> list[tuple[int, bytes]]:
        """The unfinished pictures (PNG) of a job from number ``since`` on, with their numbers."""
        with self._reading() as file:
            query = "SELECT number, png FROM partials WHERE job = ? AND number >= ? ORDER BY number"
            return [(int(k), bytes(png)) for k, png in file.execute(query, (name, since))]

    # -- the worker's side ------------------------------------------------------------------------

    def is_wanted(self, lane: Lane) -> bool:
        """Whether a worker of that lane has anything to do: jobs that wait, or that another left running."""
        with self._reading() as file:
            query = "SELECT EXISTS (SELECT 1 FROM jobs WHERE lane = ? AND state IN ('queued', 'running'))"
            return bool(file.execute(query, (lane,)).fetchone()[0])

    def is_at_work(self, lane: Lane) -> bool:
        """Whether a job of that lane runs, or was running when its worker ended."""
        with self._reading() as file:
            query = "SELECT EXISTS (SELECT 1 FROM jobs WHERE lane = ? AND state = 'running')"
            return bool(file.execute(query, (lane,)).fetchone()[0])

    def give_up(self, lane: Lane, error: str) -> None:
        """All that waits in a lane has failed, for want of a worker."""
        with self._writing() as file:
            file.execute(
                "UPDATE jobs SET state = 'failed', fault = 'lost', error = ?, ended = ? "
                "WHERE state = 'queued' AND lane = ?",
                (error, time.time(), lane),
            )

    def reclaim(self, lane: Lane = "drawing") -> list[str]:
        """Queue again what a worker that is no more left running; returns the ids of those that are given up."""
        with self._writing() as file:
            query = "SELECT id FROM jobs WHERE state = 'running' AND lane = ? AND tries >= ?"
            lost = [str(name) for (name,) in file.execute(query, (lane, MOST_TRIES))]
            for name in lost:
                text = f"the worker ended {MOST_TRIES} times while it ran, for want of memory perhaps: ask for less"
                self._end(file, name, "failed", fault="lost", error=text)
            query = "UPDATE jobs SET state = 'queued', fraction = 0, message = '' WHERE state = 'running' AND lane = ?"
            file.execute(query, (lane,))
            file.execute("DELETE FROM partials WHERE job IN (SELECT id FROM jobs WHERE state = 'queued')")
        return lost

    def claim(self, most: int = 1, lane: Lane = "drawing") -> list[Job]:
        """The oldest job of a lane that waits, which runs from now on, and others of its batch key.

        They are ``most`` pictures in all.
        """
        with self._writing() as file:
            first = file.execute(
                "SELECT number, id, batch_key, pictures FROM jobs WHERE state = 'queued' AND lane = ? "
                "ORDER BY number LIMIT 1",
                (lane,),
            ).fetchone()
            if first is None:
                return []
            number, name, batch_key, pictures = first
            names = [name]
            if batch_key is not None:
                where = "state = 'queued' AND lane = ? AND batch_key = ? AND number > ? ORDER BY number"
                query = f"SELECT id, pictures FROM jobs WHERE {where}"
                others = file.execute(query, (lane, batch_key, number)).fetchall()
                for other, more in others:
                    if pictures + more > most:
                        break
                    names.append(other)
                    pictures += more
            file.executemany(
                "UPDATE jobs SET state = 'running', started = ?, tries = tries + 1 WHERE id = ?",
                [(time.time(), each) for each in names],
            )
        return [job for job in map(self.get, names) if job is not None]

    def running(self, names: Sequence[str]) -> list[str]:
        """Those of ``names`` that still run: the others were cancelled."""
        marks = ", ".join("?" * len(names))
        with self._reading() as file:
            query = f"SELECT id FROM jobs WHERE state = 'running' AND id IN ({marks})"
            still = {str(name) for (name,) in file.execute(query, tuple(names))}
        return [name for name in names if name in still]

    def tell(self, names: Sequence[str], fraction: float, message: str) -> None:
        """How far running jobs are."""
        with self._writing() as file:
            file.executemany(
                "UPDATE jobs SET fraction = ?, message = ? WHERE id = ? AND state = 'running'",
                [(fraction, message, name) for name in names],
            )

    def show(self, name: str, number: int, png: bytes) -> None:
        """An unfinished picture of a running job."""
        with self._writing() as file:
            file.execute(
                "INSERT OR REPLACE INTO partials SELECT id, ?, ? FROM jobs WHERE id = ? AND state = 'running'",
                (number, png, name),
            )

    def finish(self, name: str, result: dict[str, Any]) -> bool:
        """A running job is done; False, and nothing changes, where it does not run (any more)."""
        with self._writing() as file:
            return self._end(file, name, "done", result=json.dumps(result))

    def fail(self, name: str, fault: Fault, error: str) -> bool:
        """A running job has failed, and why; False as :meth:`finish`."""
        with self._writing() as file:
            return self._end(file, name, "failed", fault=fault, error=error)

    def put_back(self, names: Sequence[str], alone: bool = False) -> None:
        """Queue running jobs again, as if they had not been begun; ``alone``: each is drawn by itself."""
        with self._writing() as file:
            if alone:
                file.executemany("UPDATE jobs SET batch_key = NULL WHERE id = ?", [(name,) for name in names])
            file.executemany(
                "UPDATE jobs SET state = 'queued', fraction = 0, message = '', tries = tries - 1 "
                "WHERE id = ? AND state = 'running'",
                [(name,) for name in names],
            )

    def _end(self, file: sqlite3.Connection, name: str, state: State, **values: Any) -> bool:
        given = {"state": state, "ended": time.time(), **values, **({"fraction": 1.0} if state == "done" else {})}
        columns = ", ".join(f"{column} = ?" for column in given)
        query = f"UPDATE jobs SET {columns} WHERE id = ? AND state = 'running'"
        ended = file.execute(query, (*given.values(), name)).rowcount
        file.execute("DELETE FROM partials WHERE job = ?", (name,))
        return bool(ended)

    def _read(self, where: str, *values: Any) -> list[Job]:
        with self._reading() as file:
            rows = file.execute(f"SELECT {COLUMNS} FROM jobs {where}", values).fetchall()
        return [_job(row) for row in rows]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Within it all changes are one, and no other process writes."""
        with self._reading() as file:
            file.execute("BEGIN IMMEDIATE")
            try:
                yield file
                file.execute("COMMIT")
            except BaseException:
                if file.in_transaction:  # SQLite has gone back by itself where there was no room
                    file.execute("ROLLBACK")
                raise
            self._writes += 1

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Within it no other thread uses the file."""
        with self._lock, self._explained():
            yield self._file

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What SQLite raises as :class:`QueueBroken`, with what mends it."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise QueueBroken(
                f"cannot use {self.path}, the queue of the service: {error}; free some space, or change the "
                "permissions of its folder"
            ) from error
        except sqlite3.DatabaseError as error:
            raise QueueBroken(
                f"{self.path} is no queue of the service, or damaged: {error}; move it away, and a new one is made "
                "(the pictures beside it stay)"
            ) from error


def _job(row: Sequence[Any]) -> Job:
    values = dict(zip(COLUMNS.split(", "), row, strict=True))
    result = values["result"]
    return Job(
        **{**values, "request": json.loads(values["request"]), "result": None if result is None else json.loads(result)}
    )
