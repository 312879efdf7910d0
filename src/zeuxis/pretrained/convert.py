"""Old PyTorch checkpoints to safetensors, without trusting them.

A pickle can run any program when it is opened the usual way. Here it is read by a machine of our
own (``unpickle.py``) that cannot call anything, in a process of its own that has only the standard
library, bounded memory, time and output, and whose result is checked before it is kept.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from zeuxis.errors import DataError, UsageError, WeightsError, ZeuxisError

READER = Path(__file__).with_name("unpickle.py")
SECONDS = 900.0  # of waiting


@dataclass(frozen=True)
class Conversion:
    """What came of a checkpoint: the tensors' file, the file of everything else, and a summary."""

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
    if not source.is_file():
        raise UsageError(f"there is no file {source}: give a checkpoint (.pt, .pth, .ckpt or .bin)")
    weights = source.with_suffix(".safetensors") if out is None else Path(out)
    if weights.suffix != ".safetensors":
        raise UsageError(f"--out {weights} must end in .safetensors")
    facts = weights.with_suffix(".json")
    for path in (weights, facts):
        if path.exists():
            raise UsageError(f"{path} exists already: remove it, or give another --out")
    weights.parent.mkdir(parents=True, exist_ok=True)
    report(f"reading {source}", None)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=weights.parent) as draft:
        drafts = Path(draft, "w.safetensors"), Path(draft, "f.json")
        _read_apart(source, *drafts, seconds)
        tensors, parameters = _checked(source, drafts[0])
        not_made = tuple(json.loads(drafts[1].read_text(encoding="ascii"))["not_made"])
        for made, final in zip(drafts, (weights, facts), strict=True):
            with made.open("rb+") as written:
                os.fsync(written.fileno())
            made.replace(final)
    return Conversion(weights, facts, tensors, parameters, not_made)


def _read_apart(source: Path, weights: Path, facts: Path, seconds: float) -> None:
    """Run the reader alone: isolated, without site packages, and with next to no environment."""
    command = [
        sys.executable,
        "-I",
        "-S",
        str(READER),
        *map(str, (source.resolve(), weights.resolve(), facts.resolve())),
    ]
    environment = {k: os.environ[k] for k in ("SYSTEMROOT",) if k in os.environ}  # Windows cannot start without it
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"{source} was not read within {seconds:.0f} seconds: it is not a sane checkpoint") from None
    if done.returncode == 0:
        return
    said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"its reader ended with {done.returncode}"]
    if "No space left" in said[-1]:
        raise ZeuxisError(f"there is no room for {weights.parent.parent}: free some disk space or give another --out")
    raise DataError(f"{source} cannot be converted: {said[-1][:300]}")


def _checked(source: Path, weights: Path) -> tuple[int, int]:
    """How many tensors and how many numbers the result holds, as the library that will load it sees it."""
    try:
        with safe_open(weights, framework="pt") as found:
            shapes = [found.get_slice(name).get_shape() for name in found.keys()]  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"what was read from {source} cannot be written as safetensors: {error}") from None
    return len(shapes), sum(map(math.prod, shapes))
