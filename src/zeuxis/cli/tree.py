"""The tree of commands, of which only what is asked for is built: reading the signatures of all takes longer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import typer

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
    project,
    pull,
    reproduce,
    restore,
    resume,
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
from zeuxis.cli.machine import THREADS
from zeuxis.cli.output import say
from zeuxis.version import __version__

DEBUG = "--debug"
WATERMARK, NO_WATERMARK, CREDENTIALS = "--watermark", "--no-watermark", "--credentials"
SYSTEMS = "--systems"
LOOK, WORK, PROVE, TOOLS = "Look", "Work", "Prove", "Tools"

# What runs each command, and the section of the help that it stands in.
COMMANDS: dict[str, tuple[Callable[..., Any], str]] = {
    "list": (listing.list_systems, LOOK),
    "info": (info.info, LOOK),
    "detect": (detect.detect, LOOK),
    "data": (data.data, LOOK),
    "train": (train.train, WORK),
    "resume": (resume.resume, WORK),
    "sample": (sample.sample, WORK),
    "restore": (restore.restore, WORK),
    "translate": (translate.translate, WORK),
    "edit": (edit.edit, WORK),
    "paint": (paint.paint, WORK),
    "style": (style.style, WORK),
    "encode": (encode.encode, WORK),
    "decode": (decode.decode, WORK),
    "classify": (classify.classify, WORK),
    "walk": (walk.walk, WORK),
    "project": (project.project, WORK),
    "mix": (mix.mix, WORK),
    "directions": (directions.directions, WORK),
    "breed": (breed.breed, WORK),
    "average": (average.average, WORK),
    "evaluate": (evaluate.evaluate, PROVE),
    "reproduce": (reproduce.reproduce, PROVE),
    "compare": (compare.compare, PROVE),
    "sweep": (sweep.sweep, PROVE),
    "diagnose": (diagnose.diagnose, PROVE),
    "neighbours": (neighbours.neighbours, PROVE),
    "test-system": (test_system.test_system, PROVE),
    "pull": (pull.pull, TOOLS),
    "export": (export.export, TOOLS),
    "convert": (convert.convert, TOOLS),
    "credentials": (credentials.credentials, TOOLS),
    "serve": (serve.serve, TOOLS),
    "doctor": (doctor.doctor, TOOLS),
    "demo": (demo.demo, TOOLS),
}


@cache
def tree(only: str | None = None) -> Any:
    """What typer makes of all commands, or of the one of this name alone."""
    app = typer.Typer(
        cls=PlainGroup,
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Learn a distribution of images, sample it, steer it and measure it: every method behind the same verbs.",
    )
    app.callback()(_options)
    for name in COMMANDS if only is None else (only,):
        run, section = COMMANDS[name]
        app.command(name, cls=PlainCommand, rich_help_panel=section)(run)
    return typer.main.get_command(app)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"zeuxis {__version__}")
        raise typer.Exit


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
