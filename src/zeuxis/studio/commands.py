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
    return shlex.join([*words, *_told(condition), *_knobs(knobs)])


def restore_command(
    paths: Sequence[Path],
    model: str | None,
    task: str | None,
    tile: int | None,
    knobs: Mapping[str, Any],
    fidelity: float | None = None,
    seed: int | None = None,
    ensemble: bool = False,
) -> str:
    """``zeuxis restore ...``."""
    words = ["zeuxis", "restore", *map(str, paths)]
    options = {"--model": model, "--task": task, "--tile": tile, "--fidelity": fidelity, "--seed": seed}
    for option, value in options.items():
        words += [] if value is None else [option, str(value)]
    words += ["--self-ensemble"] if ensemble else []
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


def paint_command(model: str, layout: Path, style: Path | None, n: int, seed: int, knobs: Mapping[str, Any]) -> str:
    """``zeuxis paint ...``."""
    words = ["zeuxis", "paint", model, "--layout", str(layout), "-n", str(n), "--seed", str(seed)]
    words += [] if style is None else ["--style", str(style)]
    return shlex.join([*words, *_each_knob(knobs)])


def edit_command(
    model: str,
    picture: Path,
    mask: Path | None,
    strength: float | None,
    n: int,
    seed: int,
    condition: Mapping[str, Any],
    knobs: Mapping[str, Any],
) -> str:
    """``zeuxis edit ...``; in ``condition`` pictures are paths."""
    words = ["zeuxis", "edit", model, str(picture)]
    words += [] if mask is None else ["--mask", str(mask)]
    words += [] if strength is None else ["--strength", str(strength)]
    words += ["-n", str(n), "--seed", str(seed)]
    return shlex.join([*words, *_told(condition), *_knobs(knobs)])


def example_command(data: str) -> str:
    """``zeuxis data ...``: examples of the same data."""
    clean, bar, pairing = data.partition("|")
    words = ["zeuxis", "data", clean.strip()]
    return shlex.join([*words, "--pair", pairing.strip()] if bar else words)


def look_command(path: Path) -> str:
    """``zeuxis restore PICTURE``, which looks at it, and does of what it proposes the first that can be done."""
    return shlex.join(["zeuxis", "restore", str(path)])


def encode_command(model: str, path: Path, size: int | None) -> str:
    """``zeuxis encode ...``."""
    words = ["zeuxis", "encode", str(path), "--with", model]
    return shlex.join(words if size is None else [*words, "--size", str(size)])


def replay_command(picture: Path, condition: Mapping[str, Any]) -> str:
    """``zeuxis sample --replay ...``: the same bytes."""
    return shlex.join(["zeuxis", "sample", "--replay", str(picture), *_told(condition)])


def walk_command(request: Mapping[str, Any], pictures: Sequence[Path], condition: Mapping[str, Any], out: str) -> str:
    """``zeuxis walk ...``, written to ``out``."""
    words = ["zeuxis", "walk", request["path"], *_seeds("--seeds", request["seeds"]), *_files("--picture", pictures)]
    words += [] if request["way"] == "auto" else ["--path", request["way"]]
    words += ["--frames", str(request["frames"]), *(["--loop"] if request["loop"] else [])]
    words += [] if request["format"] == "png" else ["--milliseconds", str(request["milliseconds"])]
    return shlex.join([*words, *_told(condition), *_knobs(request["knobs"]), "--out", out])


def mix_command(
    request: Mapping[str, Any], rows: Sequence[Path], columns: Sequence[Path], condition: Mapping[str, Any]
) -> str:
    """``zeuxis mix ...``."""
    words = ["zeuxis", "mix", request["path"], *_seeds("--rows", request["rows"]), *_files("--row-picture", rows)]
    words += [*_seeds("--columns", request["columns"]), *_files("--column-picture", columns)]
    words += [] if request["layers"] is None else ["--layers", request["layers"]]
    words += [] if request["share"] is None else ["--share", f"{request['share']:g}"]
    return shlex.join([*words, *_told(condition), *_knobs(request["knobs"])])


def directions_command(request: Mapping[str, Any], by: str) -> str:
    """``zeuxis directions ...``."""
    words = ["zeuxis", "directions", request["path"], "--by", by, "--count", str(request["count"])]
    words += [] if request["layers"] is None else ["--layers", request["layers"]]
    return shlex.join([*words, "--samples", str(request["samples"]), "--seed", str(request["seed"])])


def move_command(
    request: Mapping[str, Any], along: Sequence[str], picture: Path | None, condition: Mapping[str, Any]
) -> str:
    """``zeuxis sample ... --direction ...``."""
    words = ["zeuxis", "sample", request["path"]]
    if picture is None:
        words += ["-n", str(request["n"]), "--seed", str(request["seed"])]
    words += [*_files("--picture", [] if picture is None else [picture]), *_told(condition), *_knobs(request["knobs"])]
    return shlex.join([*words, *(word for way in along for word in _option("--direction", way))])


def project_command(request: Mapping[str, Any], picture: Path, condition: Mapping[str, Any]) -> str:
    """``zeuxis project ...``."""
    words = ["zeuxis", "project", request["path"], str(picture), "--steps", str(request["steps"])]
    words += ["--each-layer"] if request["each_layer"] else []
    words += [] if request["features"] is None else ["--features", request["features"]]
    return shlex.join([*words, "--seed", str(request["seed"]), *_told(condition)])


def breed_command(request: Mapping[str, Any], parents: Path | None, condition: Mapping[str, Any], out: str) -> str:
    """``zeuxis breed ...``: a first generation, or children of those in the folder ``parents``; written to ``out``."""
    words = ["zeuxis", "breed", request["path"] if parents is None else str(parents)]
    if parents is not None:
        words += ["--pick", ",".join(map(str, request["pick"])), "--mutation", f"{request['mutation']:g}"]
    words += ["-n", str(request["n"]), "--seed", str(request["seed"])]
    return shlex.join([*words, *_told(condition), *_knobs(request["knobs"]), "--out", out])


def _told(condition: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in condition.items():
        for one in value if isinstance(value, list) else [value]:
            words += _option(FIELDS[name].option, _text(one))
    return words


def _seeds(option: str, seeds: Sequence[int]) -> list[str]:
    return [option, ",".join(map(str, seeds))] if seeds else []


def _files(option: str, paths: Sequence[Path]) -> list[str]:
    return [word for path in paths for word in _option(option, str(path))]


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
