"""``zeuxis doctor``: whether this machine is fit for work."""

from __future__ import annotations

import typer

from zeuxis.cli.options import Json
from zeuxis.cli.output import emit, say_lines, table


def doctor(as_json: Json = False) -> None:
    """Look at programs, processor, memory, disk, data and weights. Exit code 1 when something needs a mend."""
    from zeuxis.api.doctor import examine

    findings = examine()
    problems = [f for f in findings if f.mend]
    if as_json:
        emit({"fit": not problems, "findings": findings})
    else:
        table("", ["", "found"], [[f.what, f.found] for f in findings])
        for problem in problems:
            say_lines("", f"problem: {problem.what}: {problem.found}", f"   mend: {problem.mend}")
        if not problems:
            say_lines("", "all is well")
    if problems:
        raise typer.Exit(1)
