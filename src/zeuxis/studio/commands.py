"""The command line that makes a job's pictures again. Imports no torch."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zeuxis.conditions import FIELDS
from zeuxis.knobs import SHORT


def sample_command(
    model: str, n: int, seed: int, size: str | None, condition: Mapping[str, Any], knobs: Mapping[str, Any]
) -> str:
    """``zeuxis sample ...``; in ``condition`` pictures are paths."""
    words = ["zeuxis", "sample", model, "-n", str(n), "--seed", str(seed)]
    words += [] if size is None else ["--size", size]
    for name, value in condition.items():
        for one in value if isinstance(value, list) else [value]:
            words += _option(FIELDS[name].option, _text(one))
    return shlex.join([*words, *_knobs(knobs)])


def restore_command(
    paths: Sequence[Path], model: str | None, task: str | None, tile: int | None, knobs: Mapping[str, Any]
) -> str:
    """``zeuxis restore ...``."""
    words = ["zeuxis", "restore", *map(str, paths)]
    for option, value in {"--model": model, "--task": task, "--tile": tile}.items():
        words += [] if value is None else [option, str(value)]
    return shlex.join(
        [*words, *(word for name, value in knobs.items() for word in ("--knob", f"{name}={_text(value)}"))]
    )


def translate_command(
    model: str, paths: Sequence[Path], seed: int, size: str | None, knobs: Mapping[str, Any], invert: bool
) -> str:
    """``zeuxis translate ...``."""
    words = ["zeuxis", "translate", model, *map(str, paths), "--seed", str(seed)]
    words += [] if size is None else ["--size", size]
    return shlex.join([*words, *_each_knob(knobs), *(["--invert"] if invert else [])])


def encode_command(model: str, path: Path, size: int | None) -> str:
    """``zeuxis encode ...``."""
    words = ["zeuxis", "encode", str(path), "--with", model]
    return shlex.join(words if size is None else [*words, "--size", str(size)])


def replay_command(picture: Path, condition: Mapping[str, Any]) -> str:
    """``zeuxis sample --replay ...``: the same bytes."""
    words = ["zeuxis", "sample", "--replay", str(picture)]
    for name, value in condition.items():
        for one in value if isinstance(value, list) else [value]:
            words += _option(FIELDS[name].option, _text(one))
    return shlex.join(words)


def train_command(
    what: str, out: str | None, changes: Mapping[str, Any], options: Mapping[str, Any], start: str | None = None
) -> str:
    """``zeuxis train ...``; ``options`` by their names, those that are None left out."""
    words = ["zeuxis", "train", what]
    for name, value in {**options, "from": start, "out": out}.items():
        words += [] if value is None else [f"--{name}", str(value)]
    return shlex.join(
        [*words, *(word for key, value in changes.items() for word in ("--set", f"{key}={_text(value)}"))]
    )


def evaluate_command(run: str, metric: str, samples: int, features: str | None, knobs: Mapping[str, Any]) -> str:
    """``zeuxis evaluate ...``."""
    words = ["zeuxis", "evaluate", run, "--metric", metric, "--samples", str(samples)]
    words += [] if features is None else ["--features", features]
    return shlex.join([*words, *_each_knob(knobs)])


def diagnose_command(run: str, samples: int) -> str:
    """``zeuxis diagnose ...``."""
    return shlex.join(["zeuxis", "diagnose", run, "--samples", str(samples)])


def _knobs(knobs: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in knobs.items():
        words += [f"--{name}", _text(value)] if name in SHORT else ["--knob", f"{name}={_text(value)}"]
    return words


def _each_knob(knobs: Mapping[str, Any]) -> list[str]:
    return [word for name, value in knobs.items() for word in ("--knob", f"{name}={_text(value)}")]


def _option(option: str, text: str) -> list[str]:
    return [f"{option}={text}"] if text.startswith("-") else [option, text]


def _text(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case list():  # pictures that are one
            return ",".join(map(str, value))
        case dict():
            return ",".join(f"{name}={number}" for name, number in value.items())
        case _:
            return str(value)
