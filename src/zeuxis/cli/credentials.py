"""``zeuxis credentials``: the certificate that content credentials are signed with."""

from __future__ import annotations

from typing import Annotated

import typer

from zeuxis.cli.options import Json
from zeuxis.cli.output import emit, say, say_lines
from zeuxis.errors import UsageError


def credentials(
    name: Annotated[
        str | None, typer.Option("--name", help="Who signs, in the certificate; anyone can read it.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Make one in place of the one that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Make a certificate for content credentials, or tell of the one that is there. Nobody vouches for it."""
    from zeuxis.provenance.certificate import NAME, folder, is_there, make_certificate, read_certificate

    there = is_there() and not new
    if there and name is not None:
        raise UsageError(f"a certificate is in {folder()} already: --new makes another in its place")
    facts = (read_certificate() if there else make_certificate(name or NAME)).facts()
    if as_json:
        emit({"folder": folder(), "made": not there, **facts})
        return
    say(f"{'there already' if there else 'made'}: {facts['name']}, until {facts['until']}, in {folder()}")
    say_lines(
        f"sha256 {facts['sha256']}",
        "made by you and vouched for by nobody: it shows that a file was not changed since, not who you are",
        "sign pictures as they are written with --credentials, after any command",
    )
