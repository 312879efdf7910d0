"""Server-sent events: how one is written, the signs of life between them, and what becomes of a client that leaves.

Imports no torch.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from zeuxis.studio.queue import JobQueue

MEDIA_TYPE = "text/event-stream"
UNBUFFERED = {"X-Accel-Buffering": "no"}  # so that nginx, where it stands before the service, passes on what comes
ALIVE = 15.0  # seconds after which a stream says that it is still there
STILL_THERE = ": still there\n\n"  # a comment, which clients pass over


def event(kind: str, data: dict[str, Any]) -> str:
    """One event of a stream."""
    return written(kind, json.dumps(data))


def written(kind: str, text: str) -> str:
    """One event whose data are JSON already, in one line."""
    return f"event: {kind}\ndata: {text}\n\n"


async def kept_alive(parts: AsyncIterator[str | None]) -> AsyncIterator[str]:
    """The events of a stream, where None is none; :data:`STILL_THERE` where there was none for long."""
    told = time.monotonic()
    async for part in parts:
        now = time.monotonic()
        if part is not None or now - told >= ALIVE:
            told = now
            yield STILL_THERE if part is None else part


class JobStream(StreamingResponse):
    """The events of a job that was asked for with this very request: a client that leaves cancels it.

    What has ended is left as it is, and a job whose stream ends with the service goes on with the next start.
    """

    def __init__(
        self, queue: JobQueue, job: str, parts: AsyncIterator[str | None], is_ending: Callable[[], bool]
    ) -> None:
        super().__init__(kept_alive(parts), media_type=MEDIA_TYPE, headers=UNBUFFERED)
        self.queue, self.job, self.is_ending = queue, job, is_ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientDisconnect):  # servers tell it in one of two ways: so, or the stream just ends
            await super().__call__(scope, receive, send)
        if not self.is_ending():
            self.queue.cancel(self.job)
