"""Errors as answers: every one is ``{"error": {message, type, param, code}}``, as the clients of both APIs read it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from zeuxis.errors import UnknownName, UsageError, ZeuxisError, mend_of
from zeuxis.studio.guard import error_body
from zeuxis.studio.queue import Fault, Job, QueueBroken, QueueFull
from zeuxis.studio.service import ClientGone, ServiceEnding
from zeuxis.studio.validating import ParameterRefused, told

STATUS: Mapping[Fault, int] = {"usage": 400, "failed": 422, "memory": 503, "lost": 503, "internal": 500}
CODES: Mapping[Fault, str] = {
    "usage": "invalid_value",
    "failed": "failed",
    "memory": "out_of_memory",
    "lost": "worker_lost",
    "internal": "internal_error",
}
RETRY = 5  # seconds
MOST_SHOWN = 200  # characters of a path
DESCRIBED = "GET /api/openapi.json describes what there is"
ENDING = "the service ends: the job goes on with its next start, and GET /api/jobs has it then"


class JobFailed(Exception):
    """A job that a client waited for did not come to pictures."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.error or job.state)
        self.job = job


def error_response(
    status: int,
    message: str,
    *,
    type: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error; those of 429 and 503 say when to come back."""
    headers = {"Retry-After": str(RETRY)} if status in (429, 503) else headers
    body = json.dumps(error_body(message, type, param, code))
    return Response(body, status, headers, media_type="application/json")


def add_error_handlers(app: FastAPI) -> None:
    """Have ``app`` answer all errors so."""

    @app.exception_handler(ZeuxisError)
    async def ours(request: Request, error: ZeuxisError) -> Response:
        match error:
            case QueueFull():
                return error_response(429, str(error), type="rate_limit_error", code="queue_full")
            case QueueBroken():
                return error_response(503, str(error), type="server_error", code="queue_broken")
            case ParameterRefused():
                return error_response(400, str(error), param=error.param, code="invalid_value")
            case UnknownName():
                return error_response(404, str(error), code="not_found")
            case UsageError():
                return error_response(400, str(error), code="invalid_value")
            case _:
                return error_response(422, str(error), code="failed")

    @app.exception_handler(JobFailed)
    async def failed(request: Request, error: JobFailed) -> Response:
        fault = error.job.fault
        if fault is None:
            return error_response(409, f"job {error.job.id} was cancelled", code="cancelled")
        status = STATUS[fault]
        kind = "invalid_request_error" if status < 500 else "server_error"
        return error_response(status, str(error), type=kind, code=CODES[fault])

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        where, message, code = told([{**each, "loc": each["loc"][1:]} for each in error.errors()])
        status = 422 if request.url.path.startswith("/api/") else 400
        if not where and "json" not in request.headers.get("content-type", ""):
            message = "the body was not sent as JSON: add the header Content-Type: application/json"
        return error_response(status, f"{where}: {message}" if where else message, param=where or None, code=code)

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        message, path = str(error.detail), request.url.path[:MOST_SHOWN]
        if error.status_code == 404:
            message = f"there is nothing at {path}: {DESCRIBED}"
        if error.status_code == 405:
            message = f"{path} is not asked for by {request.method}: {DESCRIBED}"
        return error_response(error.status_code, message, headers=error.headers)

    @app.exception_handler(OSError)
    async def disk(request: Request, error: OSError) -> Response:
        if error.errno is None:  # no file's fault, but ours
            raise error
        where = "" if error.filename is None else f" ({error.filename})"
        mend = mend_of(error, "look after the folder of the runs")
        text = f"the service cannot use its files: {error.strerror}{where}; {mend}"
        return error_response(503, text, type="server_error", code="storage")

    @app.exception_handler(ServiceEnding)
    async def ending(request: Request, error: ServiceEnding) -> Response:
        return error_response(503, ENDING, type="server_error", code="ending")

    @app.exception_handler(ClientGone)
    async def gone(request: Request, error: ClientGone) -> Response:
        return error_response(499, "the client left, and its job was cancelled")  # nobody reads it
