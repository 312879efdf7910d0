"""The command line. Each command lives in its own module and imports what it runs when it runs it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from types import TracebackType
from typing import Any

import typer

from zeuxis.catalog.listing import entries
from zeuxis.cli.machine import THREADS, prepared
from zeuxis.cli.options import KNOB
from zeuxis.cli.output import note
from zeuxis.cli.tree import COMMANDS, CREDENTIALS, DEBUG, NO_WATERMARK, SYSTEMS, WATERMARK, tree
from zeuxis.errors import SMALLER, UsageError, ZeuxisError, is_out_of_memory, mend_of
from zeuxis.plugins import using
from zeuxis.provenance.asked import Marks, marking
from zeuxis.provenance.credentials import ready

# Typer's error for wrong arguments: the class itself lives in another place in every version of it.
MISUSE: Any = typer.BadParameter.__base__

OUT = "--out"
ELSEWHERE = {  # options of other programs, and what does it here
    "--lr": "--set players.NAME.lr=2e-4 (zeuxis info lists the players)",
    "--learning-rate": "--set players.NAME.lr=2e-4 (zeuxis info lists the players)",
    "--epochs": "--iterations, or --budget with a time,",
    "--resume": "the same command again, or zeuxis resume RUN,",
    "--batch-size": "--batch",
    "--gpu": "--device cuda",
    "--gpus": "--device cuda, or torchrun for several,",
    "--output": "--out",
    "--outdir": "--out",
    "--num": "-n",
    "--num-samples": "-n",
    "--num-steps": "--steps",
    "--seeds": "--seed N, with -n COUNT for those that follow it,",
    "--cfg": "--guidance",
    "--class": "--label",
    "--cond": "--condition label",
    "--prompt": "--caption",
    "--dataset": "--data",
    "--dataroot": "--data",
    "--network": "the first argument, a model or a run folder (zeuxis convert makes one of a .pkl),",
    "--image-size": "--size",
    "--resolution": "--size",
    "--num-inference-steps": "--steps",
    "--ddim-steps": "--steps",
    "--cfg-scale": "--guidance",
    "--guidance-scale": "--guidance",
    "--width": "--size WIDTHxHEIGHT",
    "--height": "--size WIDTHxHEIGHT",
    "--negative-prompt": "--negative",
    "--clip-skip": "--knob clip_skip=1, which is what others call 2,",
    "--guidance-rescale": "--knob guidance_rescale=0.7",
    "--controlnet-conditioning-scale": "--knob control_strength=0.5",
    "--karras": "--knob spacing=karras",
    "--scheduler": "--sampler NAME, with --knob spacing=karras and the like for how the steps are laid,",
    "--controlnet": "--with CONTROLNET, with --control PICTURE for what it follows,",
    "--n-iter": "-n",
    "--n-samples": "-n",
    "--num-images-per-prompt": "-n",
    "--batch-count": "-n",
    "--init-image": "--source",
    "--init-img": "--source",
    "--mask-image": "--mask",
    "--pretrained-model-name-or-path": "the first argument, a model or a recipe,",
    "--ckpt": "the first argument, a model or a run folder,",
    "--train-data-dir": "--data",
    "--dataset-name": "--data hub:OWNER/NAME",
    "--caption-column": "--data hub:OWNER/NAME,caption=COLUMN",
    "--image-column": "--data hub:OWNER/NAME,image=COLUMN",
    "--instance-prompt": "a file NAME.txt beside every picture",
    "--instance-data-dir": "--data",
    "--output-dir": "--out",
    "--max-train-steps": "--iterations",
    "--num-train-epochs": "--iterations, or --budget with a time,",
    "--train-batch-size": "--batch",
    "--gradient-accumulation-steps": "--set train.accumulate=4",
    "--mixed-precision": "--set train.precision=bfloat16",
    "--snr-gamma": "--set model.gamma=5",
    "--use-ema": "--set train.ema=0.999",
    "--checkpointing-steps": "--set train.save_minutes=4",
    "--resume-from-checkpoint": "the same command again, or zeuxis resume RUN,",
    "--lr-scheduler": "--set players.NAME.decay=cosine",
    "--lr-warmup-steps": "--set players.NAME.warmup=500",
    "--max-grad-norm": "--set players.NAME.clip=1.0",
    "--random-flip": "--augment flips",
    "--report-to": "--track",
    "--kimg": "--iterations, as many as make so many thousand pictures in batches of --batch,",
    "--mirror": "--augment flips",
    "--aug": "the recipe stylegan2-ada, or of stylegan2 --set system=stylegan2 for none,",
    "--gamma": "--set model.gamma=10",
    "--trunc": "--knob truncation=0.7",
    "--truncation-psi": "--knob truncation=0.7",
    "--psi": "--knob truncation=0.7",
    "--noise-mode": "--knob noise=constant",
    "--direction": '--pair with the side that is the source first, as "halves:right->left", in training,',
    "--load-size": "--size, with --fit crop for windows of larger pictures,",
    "--crop-size": "--size",
    "--n-epochs": "--iterations, or --budget with a time,",
}
_ENLARGE = "--task enlarge:4"
OF_COMMAND = {  # the same of options that mean something else in other commands
    "restore": {
        **dict.fromkeys(("--scale", "--outscale", "--upscale", "--upscaling-factor", "-s"), _ENLARGE),
        **dict.fromkeys(("--input", "--image", "--test-path", "-i"), "the first argument, a picture or a folder,"),
        **dict.fromkeys(("-o", "--results-folder"), "--out"),
        **dict.fromkeys(("-n", "--model-name", "--model-path"), "--model"),
        "-t": "--tile",
        "--mask": "--task inpaint:MASK",
        "--face-enhance": "--task face, after the enlargement,",
        "--noise-level": "--task denoise, for noise of any strength,",
        **dict.fromkeys(("--colorize", "--colourise", "--colorise"), "--task colorize"),
    },
    "translate": {"--direction": "what the model was trained for: train another with the sides exchanged,"},
}


def main(args: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 1 for failure, 2 for misuse, 130 when interrupted, 143 by SIGTERM, and
    141 (what shells say of SIGPIPE) where the program that read its output has ended."""
    try:
        return _run(args)
    except (BrokenPipeError, SystemExit) as error:  # click and rich make the latter of the former
        if not _unread(error):
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # nothing more can be written, and Python must not try at its end
            with suppress(OSError):  # one that has no file behind it
                os.dup2(nowhere, stream.fileno())
        return 141


def _unread(error: BaseException | None) -> bool:
    """Whether ``error`` is, or came of, a pipe that nobody reads any more."""
    return error is not None and (isinstance(error, BrokenPipeError) or _unread(error.__context__))


def _run(args: Sequence[str] | None) -> int:
    """Run a command; returns its exit code, and has said what went wrong."""
    given = list(sys.argv[1:] if args is None else args)
    debug = DEBUG in given
    plain = [a for a in given if a not in (DEBUG, WATERMARK, NO_WATERMARK, CREDENTIALS)]
    try:
        _refuse_nowhere(plain)
        marks = marks_in(given)
        plain, own = _without(SYSTEMS, plain, "the folder or file where systems of your own lie")
        plain, threads = _without(THREADS, plain, "how many, e.g. 2")
        with using(own), prepared(threads), marking(marks):
            code = tree(_command(plain))(plain or ["--help"], prog_name="zeuxis", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except MISUSE as error:
        help_of = " ".join(word for word in ("zeuxis", _command(plain), "--help") if word)
        note(f"zeuxis: {_one_line(error)}{_meant(plain)}; {help_of} tells more")
        return 2
    except ZeuxisError as error:
        if debug:
            sys.excepthook = _traced
            raise
        note(f"zeuxis: {error}")
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        note("zeuxis: interrupted")
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:
        if debug:
            sys.excepthook = _traced
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


def _refuse_nowhere(args: Sequence[str]) -> None:
    """Refuse an ``--out`` of no characters, as of a variable that is not set: it would be the folder where one is. And
    ``-``, by which other programs mean standard output: it would be a folder of that name."""
    follows = [word for option, word in pairwise(args) if option == OUT]
    follows += [word.removeprefix(f"{OUT}=") for word in args if word.startswith(f"{OUT}=")]
    if "" in follows:
        raise UsageError(f"{OUT} is empty: name a file or a folder ({OUT} . is the one where you are)")
    if "-" in follows:
        raise UsageError(f"{OUT} -: pictures go to files, not to standard output: name a file or a folder (./- is one)")


def _one_line(misuse: Any) -> str:
    """What typer found wrong, suggestions included, without its full stop."""
    return " ".join(misuse.format_message().split()).rstrip(".")


def _command(args: Sequence[str]) -> str | None:
    """The command that was meant, before its options; None where there is none of that name."""
    return args[0] if args and args[0] in COMMANDS else None


def _meant(args: Sequence[str]) -> str:
    """What an option is called here that other programs have, or that is a knob without a flag of its own."""
    words = [a.partition("=")[0] for a in args if a.startswith("-")]
    own = _flags(args)  # what one command has, another has not
    named = {word: word.replace("_", "-") for word in words if word not in own}
    known = {**ELSEWHERE, **OF_COMMAND.get(_command(args) or "", {})}
    found = [f"{word} is {known[name]} here" for word, name in named.items() if name in known]
    if not found and (knobs := _knobs_without_flag(args)):
        found = [
            f"{word} is a knob: --knob {word[2:]}=VALUE" for word in words if word[2:] in knobs and word[:2] == "--"
        ]
    return f" ({found[0]})" if found else ""


def _flags(args: Sequence[str]) -> set[str]:
    """The options of the command; none where there is no such command."""
    name = _command(args)
    if name is None:
        return set()
    return {flag for parameter in tree(name).commands[name].params for flag in parameter.opts}


def _knobs_without_flag(args: Sequence[str]) -> set[str]:
    """The knobs of all systems that the command takes by ``--knob`` alone; none where it takes no knobs."""
    flags = _flags(args)
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
