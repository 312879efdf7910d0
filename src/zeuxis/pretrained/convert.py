"""Old PyTorch checkpoints to safetensors, read as hostile files.

A pickle can run any program when it is opened the usual way. Here ``unpickle`` reads it, which cannot call
anything, in a process of its own with only the standard library and bounded memory, time and output. What that
process wrote is checked before it is kept.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open

from zeuxis.errors import DataError, UsageError, WeightsError, ZeuxisError
from zeuxis.files import draft_folder, remove_drafts, require_regular, why_no_weights

UNPICKLER = Path(__file__).with_name("unpickle")
SECONDS = 900.0  # to wait for the process


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion: the file of the tensors, the file of everything else, and counts."""

    weights: Path
    facts: Path
    tensors: int
    parameters: int
    not_made: tuple[str, ...]  # classes and functions that the checkpoint names and that were not called


def convert(
    file: str | Path,
    out: str | Path | None = None,
    report: Callable[[str, float | None], None] = lambda message, fraction: None,
    seconds: float = SECONDS,
) -> Conversion:
    """Write the tensors of the checkpoint ``file`` to ``out`` (beside it by default) and the rest to a JSON file.

    Tensors are called by their path in the checkpoint, joined by dots; shared ones are written once each.

    Raises:
        UsageError: there is no such file, or the result exists already.
        DataError: it is damaged, or holds what only a program could make.
        ZeuxisError: there is no room for the result.
    """
    source = Path(file)
    try:
        require_regular(source)
    except OSError as error:
        raise UsageError(
            f"there is no file {source} ({error.strerror}): give a checkpoint (.pt, .pth, .ckpt, .bin or .pkl)"
        ) from None
    weights = source.with_suffix(".safetensors") if out is None else Path(out)
    facts = _facts_beside(weights)
    weights.parent.mkdir(parents=True, exist_ok=True)
    report(f"reading {source}", None)
    remove_drafts(weights.parent, time.time())
    with draft_folder(weights) as draft:
        drafts = draft / "w.safetensors", draft / "f.json"
        _read_apart(source, *drafts, seconds)
        tensors, parameters = _checked(source, drafts[0])
        not_made = tuple(json.loads(drafts[1].read_text(encoding="ascii"))["not_made"])
        for made, final in zip(drafts, (weights, facts), strict=True):
            with made.open("rb+") as written:
                os.fsync(written.fileno())
            made.replace(final)
    return Conversion(weights, facts, tensors, parameters, not_made)


def moved(done: Conversion, weights: Path) -> Conversion:
    """The files of a conversion under another name on the same disk, where nothing may be yet."""
    facts = _facts_beside(weights)
    return replace(done, weights=done.weights.replace(weights), facts=done.facts.replace(facts))


def _facts_beside(weights: Path) -> Path:
    """The JSON file beside ``weights``; raises :class:`UsageError` where either is no place for a result."""
    if weights.suffix != ".safetensors":
        raise UsageError(f"--out {weights} must end in .safetensors")
    facts = weights.with_suffix(".json")
    for path in (weights, facts):
        if path.exists():
            raise UsageError(f"{path} exists already: remove it, or give another --out")
    return facts


def _read_apart(source: Path, weights: Path, facts: Path, seconds: float) -> None:
    """Run the unpickler in an isolated process, without site packages and with next to no environment."""
    command = [
        sys.executable,
        "-I",
        "-S",
        str(UNPICKLER),
        *map(str, (source.resolve(), weights.resolve(), facts.resolve())),
        "watched",
    ]
    environment = {k: os.environ[k] for k in ("SYSTEMROOT",) if k in os.environ}  # Windows cannot start without it
    # The reader ends when the other end of its standard input is closed, which a kill of this process does too.
    reading, held = os.pipe()
    try:
        done = subprocess.run(
            command, stdin=reading, capture_output=True, timeout=seconds, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"{source} was not read within {seconds:.0f} seconds: it is damaged or hostile") from None
    finally:
        os.close(reading)
        os.close(held)
    if done.returncode == 0:
        return
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    reason = lines[-1] if lines else f"the process that read it ended with {done.returncode}"
    if "No space left" in reason:
        raise ZeuxisError(f"there is no room for {weights.parent.parent}: free some disk space or give another --out")
    raise DataError(f"{source} cannot be converted: {why_no_weights(source) or reason[:300]}")


def _checked(source: Path, weights: Path) -> tuple[int, int]:
    """How many tensors and how many numbers the result holds, as the library that will load it sees it."""
    try:
        with safe_open(weights, framework="pt") as found:
            shapes = [found.get_slice(name).get_shape() for name in found.keys()]  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"what was read from {source} cannot be written as safetensors: {error}") from None
    return len(shapes), sum(map(math.prod, shapes))
