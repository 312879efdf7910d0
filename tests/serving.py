"""The service of a test: its app without a socket, and its worker in a thread."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from zeuxis.studio.app import create_app
from zeuxis.studio.folders import Folders
from zeuxis.studio.queue import ENDED, JobQueue
from zeuxis.studio.worker import Worker

ADDRESS = "http://127.0.0.1:7864"


class Served:
    """An app, a client of it, and the worker that may work at its queue."""

    def __init__(self, runs: Path, **settings: Any) -> None:
        self.runs = runs
        self.app = create_app(runs, supervised=False, **settings)
        self.service = self.app.state.service
        self.client = TestClient(self.app, base_url=ADDRESS)
        self.folders = Folders(runs)
        self.worker = Worker(self.folders, JobQueue(self.folders.queue))
        self.service.wake = self.worker.wake.set

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
        while self.client.get(f"/api/jobs/{name}").json()["state"] not in ENDED:
            assert self.worker.work()
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


def png(width: int = 8, height: int = 8, mode: str = "RGB", kind: str = "PNG") -> bytes:
    """A picture that is nothing in particular."""
    values = np.arange(width * height * 3, dtype=np.uint8).reshape(height, width, 3)
    out = io.BytesIO()
    Image.fromarray(values).convert(mode).save(out, kind)
    return out.getvalue()
