"""The service of a test: its app without a socket, and its worker in a thread."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from zeuxis.studio.app import create_app
from zeuxis.studio.folders import Folders
from zeuxis.studio.queue import ENDED, JobQueue
from zeuxis.studio.training_worker import TrainingWorker
from zeuxis.studio.worker import Worker

ADDRESS = "http://127.0.0.1:7864"
SCENES_CAPTION = "a small red circle above a large blue square at night"


class Served:
    """An app, a client of it, and the worker that may work at its queue."""

    def __init__(self, runs: Path, **settings: Any) -> None:
        self.runs = runs
        self.app = create_app(runs, supervised=False, **settings)
        self.service = self.app.state.service
        self.client = TestClient(self.app, base_url=ADDRESS)
        self.folders = Folders(runs)
        self.worker = Worker(self.folders, JobQueue(self.folders.queue))
        self.trainings = TrainingWorker(self.folders, JobQueue(self.folders.queue))
        self.service.wake = self.worker.wake.set

    @contextmanager
    def training(self) -> Iterator[None]:
        """Within it trainings are done as they come."""
        over = threading.Event()

        def work() -> None:
            while not over.is_set():
                if not self.trainings.work():
                    over.wait(0.05)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            over.set()
            self.trainings.end()
            thread.join()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Within it the worker works."""
        thread = threading.Thread(target=self.worker.run)
        thread.start()
        try:
            yield
        finally:
            self.worker.end()
            thread.join()

    def submit(self, **asked: Any) -> dict[str, Any]:
        """A job that must be taken."""
        answer = self.client.post("/api/jobs", json=asked)
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def done(self, **asked: Any) -> dict[str, Any]:
        """What a job comes to, worked at here and now."""
        name = self.submit(**asked)["id"]
        while (job := self.client.get(f"/api/jobs/{name}").json())["state"] not in ENDED:
            assert self.trainings.work() if job["lane"] == "training" else self.worker.work()
        found: dict[str, Any] = self.client.get(f"/api/jobs/{name}").json()
        return found

    def file(self, job: dict[str, Any], k: int = 0) -> Path:
        """The file of a picture of a job."""
        return self.folders.job(job["id"]) / job["result"]["pictures"][k]["file"]

    def upload(self, content: bytes) -> str:
        """The name of a picture that is given."""
        answer = self.client.post("/api/uploads", files={"picture": ("any.png", content)})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["upload"])


@contextmanager
def service_at_work(runs: Path) -> Iterator[Served]:
    """An app over a folder of runs, and its worker at work."""
    made = Served(runs)
    with made.working():
        yield made


@dataclass(frozen=True)
class Answered:
    """What the app answered, as it was sent."""

    status: int
    headers: dict[str, str]
    text: str


def ask(app: Any, asked: Iterable[tuple[str, str, dict[str, str], Any]]) -> list[Answered]:
    """What the app answers to (method, path as it is sent, headers, JSON or None): many requests in little time."""

    async def one(method: str, path: str, headers: dict[str, str], body: Any) -> Answered:
        raw, _, query = path.partition("?")
        content = b"" if body is None else json.dumps(body).encode()
        told = {
            "host": "127.0.0.1:7864",
            "content-type": "application/json",
            "content-length": str(len(content)),
            **headers,
        }
        scope = {
            "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "root_path": "",
            "path": unquote(raw), "raw_path": raw.encode("utf-8", "replace"), "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in told.items()],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 7864),
        }  # fmt: skip
        sent: list[dict[str, Any]] = []
        given = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return given.pop() if given else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await app(scope, receive, send)
        head = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        return Answered(sent[0]["status"], head, b"".join(part.get("body", b"") for part in sent[1:]).decode("latin-1"))

    async def every() -> list[Answered]:
        return [await one(*each) for each in asked]

    return asyncio.run(every())


def png(width: int = 8, height: int = 8, mode: str = "RGB", kind: str = "PNG") -> bytes:
    """A picture that is nothing in particular."""
    values = np.arange(width * height * 3, dtype=np.uint8).reshape(height, width, 3)
    out = io.BytesIO()
    Image.fromarray(values).convert(mode).save(out, kind)
    return out.getvalue()
