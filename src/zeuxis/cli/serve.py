"""``zeuxis serve``: the library over HTTP, for clients of three kinds."""

from __future__ import annotations

import errno
import re
import secrets
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli.options import DeviceName, Json, folder
from zeuxis.cli.output import emit, note, say
from zeuxis.errors import UsageError

EXTRA = "pip install fastapi uvicorn python-multipart"
SEGMENT = re.compile(r"[A-Za-z0-9._~@-]+")  # of a path, between slashes
PATIENCE = 5  # seconds that answers have to come to their end when the service is to end
WHY = {
    errno.EADDRINUSE: "port {port} of {host} is in use already, by another zeuxis serve perhaps: give another --port",
    errno.EACCES: "port {port} is not for everyone to listen at: give a --port above 1023",
    errno.EADDRNOTAVAIL: "{host} is no address of this machine: give one that it has, or 0.0.0.0 for all of them",
}


def serve(
    host: Annotated[
        str, typer.Option("--host", help="The address to listen at; beyond this machine a token is wanted.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The port to listen at.")] = 7864,
    token: Annotated[
        str | None, typer.Option("--token", help="What every request must know; 'new' makes one and prints it.")
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="Another name by which this machine is called; repeat."),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option("--root-path", metavar="PATH", help="Below which path a proxy has it, e.g. /lab/zeuxis."),
    ] = None,
    runs: Annotated[
        Path, typer.Option("--runs", metavar="FOLDER", callback=folder, help="Run folders; also where results go.")
    ] = Path("runs"),
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Serve models over HTTP: the OpenAI Images API, that of AUTOMATIC1111's web UI, and one of our own."""
    try:
        import uvicorn

        from zeuxis.studio.app import create_app
        from zeuxis.studio.guard import LOOPBACK
    except ModuleNotFoundError as error:
        raise UsageError(f"the service needs {error.name}, which is not installed: {EXTRA}") from None
    anywhere = host not in LOOPBACK
    if anywhere and not token:
        raise UsageError(f"--host {host} lets other machines in: give --token new, or a token of your own")
    if token is not None and token != "new" and len(token) < 16:
        raise UsageError("--token: give sixteen characters at least, or 'new'")
    below = root_path(root or "/")
    known = secrets.token_urlsafe(24) if token == "new" else token
    require_free(host, port)
    from zeuxis.training.run_lock import run_lock

    home = runs / "studio"
    home.mkdir(parents=True, exist_ok=True)
    shown = f"[{host}]" if ":" in host else host
    # Shells have Ctrl-C ignored by what they start in the background. The server takes it all the same, once it runs:
    # so it must end what is before that as well, or is lost where it comes as soon as the address is told.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(KeyboardInterrupt), run_lock(home):  # one server and one worker for a folder
        app = create_app(runs, hosts=(host, *(name or ())), anywhere=anywhere, token=known, root=below, device=device)
        address = f"http://{shown}:{port}/"
        if as_json:
            emit({"url": address, "token": known})
        else:
            say(address if known is None else f"{address}?token={known}")
        note("Ctrl-C ends it; what is at work then goes on with the next start")
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_level="warning",
                server_header=False,
                access_log=False,
                timeout_graceful_shutdown=PATIENCE,
            )
        )
        app.state.service.is_ending = lambda: server.should_exit  # so that nobody is waited for who waits for a job
        server.run()


def root_path(text: str) -> str:
    """The path before that of every request, without a slash behind it: "" where there is none.

    Raises :class:`UsageError` for what is no path of an address.
    """
    path = text.strip("/")
    parts = path.split("/") if path else []
    if not text.startswith("/") or any(not SEGMENT.fullmatch(part) or set(part) == {"."} for part in parts):
        raise UsageError(f"--root-path {text}: give a path as it stands in the address, such as /lab/zeuxis")
    return f"/{path}" if path else ""


def require_free(host: str, port: int) -> None:
    """Raise UsageError where nobody can listen at that address, before anything is started."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as tried:
                if sys.platform != "win32":  # where it would share the port; here, as servers do, one just left is free
                    tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(address)
    except socket.gaierror as error:
        raise UsageError(f"--host {host}: {error.strerror}: give an address of this machine") from None
    except OSError as error:
        why = WHY.get(error.errno or 0, "cannot listen at port {port} of {host}: " + str(error.strerror))
        raise UsageError(why.format(host=host, port=port)) from None
