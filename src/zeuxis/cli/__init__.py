"""The command line. Each command lives in its own module and imports what it runs when it runs it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import typer

from zeuxis.catalog.listing import entries
from zeuxis.cli import (
    average,
    breed,
    classify,
    compare,
    convert,
    credentials,
    data,
    decode,
    demo,
    detect,
    diagnose,
    directions,
    doctor,
    edit,
    encode,
    evaluate,
    export,
    info,
    listing,
    mix,
    neighbours,
    paint,
    pull,
    reproduce,
    restore,
    sample,
    serve,
    style,
    sweep,
    test_system,
    train,
    translate,
    walk,
)
from zeuxis.cli.help import PlainCommand, PlainGroup
from zeuxis.cli.machine import THREADS, prepared
from zeuxis.cli.options import KNOB
from zeuxis.cli.output import note, say
from zeuxis.errors import SMALLER, UsageError, ZeuxisError, is_out_of_memory, mend_of
from zeuxis.plugins import using
from zeuxis.provenance.asked import Marks, marking
from zeuxis.provenance.credentials import ready
from zeuxis.version import __version__

DEBUG = "--debug"
WATERMARK, NO_WATERMARK, CREDENTIALS = "--watermark", "--no-watermark", "--credentials"
SYSTEMS = "--systems"
# Typer's error for wrong arguments: the class itself lives in another place in every version of it.
MISUSE: Any = typer.BadParameter.__base__

ELSEWHERE = {  # options of other programs, and what does it here
    "--lr": "--set players.NAME.lr=2e-4 (zeuxis info lists the players)",
    "--learning-rate": "--set players.NAME.lr=2e-4 (zeuxis info lists the players)",
    "--epochs": "--iterations, or --budget with a time,",
    "--resume": "the same command again, or zeuxis train RUN,",
    "--batch-size": "--batch",
    "--gpu": "--device cuda",
    "--output": "--out",
    "--num": "-n",
    "--num-samples": "-n",
    "--cfg": "--guidance",
    "--class": "--label",
    "--prompt": "--caption",
    "--dataset": "--data",
}

app = typer.Typer(
    cls=PlainGroup,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Learn a distribution of images, sample it, steer it and measure it: every method behind the same verbs.",
)

LOOK, WORK, PROVE, TOOLS = "Look", "Work", "Prove", "Tools"
app.command("list", cls=PlainCommand, rich_help_panel=LOOK)(listing.list_systems)
app.command("info", cls=PlainCommand, rich_help_panel=LOOK)(info.info)
app.command("detect", cls=PlainCommand, rich_help_panel=LOOK)(detect.detect)
app.command("data", cls=PlainCommand, rich_help_panel=LOOK)(data.data)
app.command("train", cls=PlainCommand, rich_help_panel=WORK)(train.train)
app.command("sample", cls=PlainCommand, rich_help_panel=WORK)(sample.sample)
app.command("restore", cls=PlainCommand, rich_help_panel=WORK)(restore.restore)
app.command("translate", cls=PlainCommand, rich_help_panel=WORK)(translate.translate)
app.command("edit", cls=PlainCommand, rich_help_panel=WORK)(edit.edit)
app.command("paint", cls=PlainCommand, rich_help_panel=WORK)(paint.paint)
app.command("style", cls=PlainCommand, rich_help_panel=WORK)(style.style)
app.command("encode", cls=PlainCommand, rich_help_panel=WORK)(encode.encode)
app.command("decode", cls=PlainCommand, rich_help_panel=WORK)(decode.decode)
app.command("classify", cls=PlainCommand, rich_help_panel=WORK)(classify.classify)
app.command("walk", cls=PlainCommand, rich_help_panel=WORK)(walk.walk)
app.command("mix", cls=PlainCommand, rich_help_panel=WORK)(mix.mix)
app.command("directions", cls=PlainCommand, rich_help_panel=WORK)(directions.directions)
app.command("breed", cls=PlainCommand, rich_help_panel=WORK)(breed.breed)
app.command("average", cls=PlainCommand, rich_help_panel=WORK)(average.average)
app.command("evaluate", cls=PlainCommand, rich_help_panel=PROVE)(evaluate.evaluate)
app.command("reproduce", cls=PlainCommand, rich_help_panel=PROVE)(reproduce.reproduce)
app.command("compare", cls=PlainCommand, rich_help_panel=PROVE)(compare.compare)
app.command("sweep", cls=PlainCommand, rich_help_panel=PROVE)(sweep.sweep)
app.command("diagnose", cls=PlainCommand, rich_help_panel=PROVE)(diagnose.diagnose)
app.command("neighbours", cls=PlainCommand, rich_help_panel=PROVE)(neighbours.neighbours)
app.command("test-system", cls=PlainCommand, rich_help_panel=PROVE)(test_system.test_system)
app.command("pull", cls=PlainCommand, rich_help_panel=TOOLS)(pull.pull)
app.command("export", cls=PlainCommand, rich_help_panel=TOOLS)(export.export)
app.command("convert", cls=PlainCommand, rich_help_panel=TOOLS)(convert.convert)
app.command("credentials", cls=PlainCommand, rich_help_panel=TOOLS)(credentials.credentials)
app.command("serve", cls=PlainCommand, rich_help_panel=TOOLS)(serve.serve)
app.command("doctor", cls=PlainCommand, rich_help_panel=TOOLS)(doctor.doctor)
app.command("demo", cls=PlainCommand, rich_help_panel=TOOLS)(demo.demo)
COMMANDS = frozenset(str(c.name) for c in app.registered_commands)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"zeuxis {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    debug: bool = typer.Option(False, DEBUG, help="Show the traceback of an error; allowed after any command."),
    systems: list[str] | None = typer.Option(
        None,
        SYSTEMS,
        metavar="FOLDER|FILE",
        help="Where systems of your own lie; repeatable, allowed after any command.",
    ),
    threads: int | None = typer.Option(
        None,
        THREADS,
        metavar="N",
        help="How many threads compute, instead of as many as are quicker; allowed after any command.",
    ),
    watermark: bool | None = typer.Option(
        None,
        f"{WATERMARK}/{NO_WATERMARK}",
        help="Mark the pixels of pictures that are written, by default of those made from nothing else and of 256 "
        "pixels a side or more; allowed after any command.",
    ),
    credentials: bool = typer.Option(
        False,
        CREDENTIALS,
        help="Sign pictures that are written, with the certificate of zeuxis credentials; allowed after any command.",
    ),
) -> None:
    """What stands before a command. ``main`` has taken these options out already; they are here for the help."""


def main(args: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 1 for failure, 2 for misuse, 130 when interrupted."""
    given = list(sys.argv[1:] if args is None else args)
    debug = DEBUG in given
    plain = [a for a in given if a not in (DEBUG, WATERMARK, NO_WATERMARK, CREDENTIALS)]
    try:
        marks = marks_in(given)
        plain, own = _without(SYSTEMS, plain, "the folder or file where systems of your own lie")
        plain, threads = _without(THREADS, plain, "how many, e.g. 2")
        with using(own), prepared(threads), marking(marks):
            code = app(plain or ["--help"], prog_name="zeuxis", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except MISUSE as error:
        note(f"zeuxis: {_one_line(error)}{_meant(plain)}; zeuxis {_command(plain)}--help tells more")
        return 2
    except ZeuxisError as error:
        if debug:
            sys.excepthook = _traced  # here, because typer puts its own in when a command begins
            raise
        note(f"zeuxis: {error}")
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        note("zeuxis: interrupted")
        return 130
    except BrokenPipeError:
        # The program that read our output has ended: nothing more can be written, and Python must not try at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            sys.excepthook = _traced  # here, because typer puts its own in when a command begins
            raise
        note(f"zeuxis: {_explain(error)}")
        return 1


def marks_in(args: Sequence[str]) -> Marks:
    """What is asked of the marks in pictures; UsageError where both or what cannot be."""
    if WATERMARK in args and NO_WATERMARK in args:
        raise UsageError(f"{WATERMARK} and {NO_WATERMARK}: give one of them")
    if CREDENTIALS in args:
        ready()
    return Marks(True if WATERMARK in args else False if NO_WATERMARK in args else None, CREDENTIALS in args)


def _traced(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A traceback on stderr, in which nothing is obeyed by a terminal either."""
    for part in traceback.format_exception(kind, error, trace):
        for line in part.rstrip("\n").split("\n"):
            note(line)


def _without(option: str, args: Sequence[str], what: str) -> tuple[list[str], list[str]]:
    """The arguments without every ``option VALUE`` and ``option=VALUE``, and those values; ``what`` names one."""
    rest, values = [], []
    words = iter(args)
    for word in words:
        if word == option:
            value = next(words, None)
            if value is None:
                raise UsageError(f"{option} lacks its value: {what}")
            values.append(value)
        elif word.startswith(f"{option}="):
            values.append(word.removeprefix(f"{option}="))
        else:
            rest.append(word)
    return rest, values


def _one_line(misuse: Any) -> str:
    """What typer found wrong, suggestions included, without its full stop."""
    return " ".join(misuse.format_message().split()).rstrip(".")


def _command(args: Sequence[str]) -> str:
    """The command that was meant, before its options; "" where there is none of that name."""
    return f"{args[0]} " if args and args[0] in COMMANDS else ""


def _meant(args: Sequence[str]) -> str:
    """What an option is called here that other programs have, or that is a knob without a flag of its own."""
    words = [a.partition("=")[0] for a in args if a.startswith("--")]
    found = [f"{word} is {ELSEWHERE[word]} here" for word in words if word in ELSEWHERE]
    if not found and (knobs := _knobs_without_flag(args)):
        found = [f"{word} is a knob: --knob {word[2:]}=VALUE" for word in words if word[2:] in knobs]
    return f" ({found[0]})" if found else ""


def _knobs_without_flag(args: Sequence[str]) -> set[str]:
    """The knobs of all systems that the command takes by ``--knob`` alone; none where it takes no knobs."""
    if not args or args[0] not in COMMANDS:
        return set()
    command = typer.main.get_command(app).commands[args[0]]  # type: ignore[attr-defined]
    flags = {flag for parameter in command.params for flag in parameter.opts}
    knobs = {name for each in entries().values() for name in each.card.knob_table} if KNOB in flags else set()
    return knobs - {flag[2:] for flag in flags}


def _explain(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0]
    if is_out_of_memory(error):
        return f"out of memory ({first[:200] or type(error).__name__}): {SMALLER}"
    if isinstance(error, OSError) and error.errno is not None:
        way_out = "give another place (--out, or ZEUXIS_CACHE for what is kept)"
        return f"{error.filename or 'a file'}: {error.strerror}: {mend_of(error, way_out)}"
    return f"{type(error).__name__}: {first} (a mistake in Zeuxis: run again with {DEBUG} to see where)"
