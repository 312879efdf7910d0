"""Help in sections, as typer's panels are, without the import of rich, which takes longer than all the rest of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from typer import Exit
from typer.core import TyperCommand, TyperGroup

from zeuxis.cli.output import note
from zeuxis.errors import Stopped

SHORT = 200  # characters of a command's first sentence; lines are wrapped, not cut


def _write(formatter: Any, rows: Iterable[tuple[str, tuple[str, str]]]) -> None:
    """Each (section, (term, meaning)) under its section, in the order in which sections begin."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for section, row in rows:
        sections.setdefault(section, []).append(row)
    for section, found in sections.items():
        with formatter.section(section):
            formatter.write_dl(found)


def _write_options(command: Any, ctx: Any, formatter: Any) -> None:
    """Arguments and options by their ``rich_help_panel``."""
    rows = []
    for parameter in command.get_params(ctx):
        row = parameter.get_help_record(ctx)
        if row is not None:
            plain = "Arguments" if parameter.param_type_name == "argument" else "Options"
            rows.append((getattr(parameter, "rich_help_panel", None) or plain, row))
    _write(formatter, rows)


class PlainCommand(TyperCommand):
    """A command whose options stand in sections, and which ends as the signal says that stopped a training in it."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_options(self, ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Stopped as stopped:  # typer would take it for Ctrl-C
            note(f"zeuxis: stopped by {stopped}")
            raise Exit(stopped.exit_code) from None


class PlainGroup(TyperGroup):
    """Commands in sections."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        commands: dict[str, Any] = dict(self.commands)
        _write(
            formatter,
            [(c.rich_help_panel or "Commands", (name, c.get_short_help_str(SHORT))) for name, c in commands.items()],
        )
