"""``zeuxis test-system``: does a system, one of the user's own or ours, keep what every system keeps?"""

from __future__ import annotations

from typing import Annotated

import typer

from zeuxis.cli.options import DeviceName, Json
from zeuxis.cli.output import emit, note, say

FAILED = 1


def test_system(
    name: Annotated[
        str, typer.Argument(metavar="FILE|FOLDER|SYSTEM", help="A my_method.py, a folder, or a system's id.")
    ],
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Run the contract on a system: one line for each promise, exit code 1 if one is broken."""
    from pathlib import Path

    from zeuxis.plugins import using
    from zeuxis.testing.report import Outcome, outcomes, systems_of

    findings: list[Outcome] = []
    with using([name] if Path(name).exists() else []):
        for system in systems_of(name):
            for found in outcomes(system, device):
                findings.append(found)
                if not as_json:
                    say(f"{'ok  ' if found.why is None else 'FAIL'}  {found.recipe}: {found.promise}")
                    if found.why is not None:
                        say(f"      {found.why}")
    broken = sum(found.why is not None for found in findings)
    if as_json:
        emit(findings)
    else:
        note(f"{len(findings) - broken} of {len(findings)} promises kept")
    if broken:
        raise typer.Exit(FAILED)
