"""The app: all routes behind the guard, and the worker started and ended with it. Imports no torch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI
from fastapi.params import Path as InPath
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute

from zeuxis.errors import UnknownName
from zeuxis.studio import a1111, catalogue, dataset_routes, jobs, learn, openai, recipes
from zeuxis.studio import runs as run_routes
from zeuxis.studio.error_handlers import add_error_handlers
from zeuxis.studio.folders import Folders
from zeuxis.studio.guard import Guard
from zeuxis.studio.limits import MOST_BODY
from zeuxis.studio.queue import JobQueue
from zeuxis.studio.responses import ErrorResponse
from zeuxis.studio.service import Service
from zeuxis.studio.supervisor import Supervisor
from zeuxis.version import __version__

PAGE = Path(__file__).parent / "page"  # index.html, and in assets/ what it loads
SAID = f"""Zeuxis {__version__}

GET  /api/openapi.json   this service, described (OpenAPI)
POST /api/jobs           its own API
     /v1                 the OpenAI Images API
     /sdapi/v1           the API of AUTOMATIC1111's web UI
"""
PARTS = (
    jobs.routes,
    catalogue.routes,
    recipes.routes,
    learn.routes,
    run_routes.routes,
    dataset_routes.routes,
    openai.routes,
    a1111.routes,
)
REFUSALS = {status: {"model": ErrorResponse} for status in (400, 401, 403, 404, 413, 422, 429)}


def create_app(
    runs: Path,
    *,
    hosts: Iterable[str] = (),
    anywhere: bool = False,
    token: str | None = None,
    root: str = "",
    device: str = "cpu",
    supervised: bool = True,
    most_jobs: int = 256,
    most_body: int = MOST_BODY,
) -> FastAPI:
    """The service over the models in the folder ``runs``.

    Args:
        runs: run folders; what the service makes lies in its folder ``studio``.
        hosts, anywhere, token, root: see :class:`zeuxis.studio.guard.Guard`.
        device: where models compute.
        supervised: whether a worker's process is started with it; without, somebody else works at its queue.
        most_jobs: that wait and run at a time.
        most_body: bytes of a request.
    """
    folders = Folders(runs)
    queue = JobQueue(folders.queue, most_jobs)
    supervisor = Supervisor(runs, queue, device) if supervised else None
    trainings = Supervisor(runs, queue, device, "training") if supervised else None
    workers = [each for each in (supervisor, trainings) if each is not None]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        for each in workers:
            each.start()
        yield
        for each in workers:  # all of them first, so that one waits while the others do
            each.end()
        for each in workers:
            each.stop()

    def wake() -> None:
        for each in workers:
            each.wake()

    app = FastAPI(
        title="Zeuxis",
        version=__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,  # both would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # :class:`Guard` passes them over: behind a proxy the address would be another
        servers=[{"url": root}] if root else None,
        lifespan=lifespan,
    )
    app.state.supervisor = supervisor
    app.state.service = Service(folders, queue, wake, root)
    app.state.a1111_model, app.state.a1111_jobs = a1111.FIRST, set()
    app.router.routes.extend(_routes())
    add_error_handlers(app)
    app.add_middleware(Guard, hosts=tuple(hosts), anywhere=anywhere, token=token, most=most_body, root=root)
    return app


@cache
def _routes() -> list[BaseRoute]:
    """The routes, which all apps of a process share: they hold nothing of an app, and to make them takes most of it."""
    shared = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, responses=REFUSALS)  # type: ignore[arg-type]
    for part in PARTS:
        shared.include_router(part)
    shared.add_api_route("/", page, response_class=Response, include_in_schema=False)
    shared.add_api_route("/assets/{name}", asset, response_class=Response, include_in_schema=False)
    return list(shared.router.routes)


def page() -> Response:
    """The page, where it was built; otherwise what there is, in words."""
    index = PAGE / "index.html"
    return FileResponse(index, media_type="text/html") if index.is_file() else PlainTextResponse(SAID)


def asset(name: Annotated[str, InPath(max_length=200)]) -> Response:
    """A file that the page loads."""
    folder = PAGE / "assets"
    there = {path.name: path for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}
    if name not in there:
        raise UnknownName("file of the page", name, there)
    return FileResponse(there[name])
