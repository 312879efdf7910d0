"""``zeuxis serve``: the library over HTTP, for clients of three kinds."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

from zeuxis.cli.options import DeviceName, Json, folder
from zeuxis.cli.output import emit, note, say
from zeuxis.errors import UsageError

EXTRA = "pip install fastapi uvicorn python-multipart"


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
    known = secrets.token_urlsafe(24) if token == "new" else token
    from zeuxis.training.run_lock import run_lock

    home = runs / "studio"
    home.mkdir(parents=True, exist_ok=True)
    shown = f"[{host}]" if ":" in host else host
    with run_lock(home):  # one server and one worker for a folder
        app = create_app(runs, hosts=(host, *(name or ())), anywhere=anywhere, token=known, device=device)
        address = f"http://{shown}:{port}/"
        if as_json:
            emit({"url": address, "token": known})
        else:
            say(address if known is None else f"{address}?token={known}")
        note("Ctrl-C ends it; what is at work then goes on with the next start")
        uvicorn.run(app, host=host, port=port, log_level="warning", server_header=False, access_log=False)
