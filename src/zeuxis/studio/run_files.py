"""The runs in a folder, as their files tell of them; a name is looked up, never made a path. Imports no torch."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from zeuxis.errors import UnknownName, UsageError, WeightsError
from zeuxis.files import open_regular, read_table, why_no_name
from zeuxis.recipe import Recipe, parse_recipe
from zeuxis.studio.folders import FOLDER
from zeuxis.training.exchange import read_card
from zeuxis.training.legacy import upgraded_recipe
from zeuxis.training.log_file import GRADIENT, HELD_OUT, LOSS, MADE, RATE, parsed_lines, read_log
from zeuxis.training.run_lock import is_locked

RUN, LOG, PREVIEWS = "run.json", "log.jsonl", "previews"
TAIL = 65_536  # bytes of a log that its last lines are looked for in
MOST_POINTS = 300  # of a curve
MOST_CURVES = 64
NO_FIGURES = frozenset({"round", "seconds", "images"})
FIRST = (HELD_OUT + "mean", LOSS, HELD_OUT, "", MADE, GRADIENT, RATE)  # the order in which curves are told of

Points = list[tuple[int, float]]


@dataclass(frozen=True)
class RunFiles:
    """A run folder, and what its ``run.json`` says."""

    name: str
    folder: Path
    recipe: Recipe
    finished: bool

    @property
    def is_training(self) -> bool:
        """Whether a training is at work in it now, of the service or of the command line."""
        return is_locked(self.folder)

    @property
    def has_model(self) -> bool:
        """Whether a model can be loaded from it."""
        return _is_plain(self.folder / "model" / "model.json") and not (self.folder / "model").is_symlink()

    @property
    def changed(self) -> float:
        """When its record was written last, in seconds since 1970: as it began, and as it ended."""
        return (self.folder / RUN).stat().st_mtime

    def progress(self) -> tuple[int, float]:
        """The iterations done and the seconds of training, by the last lines of its log.

        A closed form writes none: then by the card of its model.
        """
        path = self.folder / LOG
        if not _is_plain(path):
            return self._progress_of_model()
        with open_regular(path) as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - TAIL))
            lines = file.read(TAIL).split(b"\n")
        entries = parsed_lines(lines if end <= TAIL else lines[1:])
        round_ = max((value for entry in entries if isinstance(value := entry.get("round"), int)), default=0)
        seconds = max((s for entry in entries if (s := _number(entry.get("seconds"))) is not None), default=0.0)
        return round_, seconds

    def _progress_of_model(self) -> tuple[int, float]:
        if not self.has_model:
            return 0, 0.0
        try:
            card = read_card(self.folder / "model")
        except WeightsError:  # it is being written, or damaged
            return 0, 0.0
        return int(_number(card.get("round")) or 0), _number(card.get("seconds")) or 0.0

    def log(self) -> list[dict[str, Any]]:
        """The entries of its log; none where there is no log. Raises UsageError for a damaged one."""
        path = self.folder / LOG
        if not _is_plain(path):
            return []
        found = path.stat()
        return _log(path, found.st_mtime_ns, found.st_size)

    def curves(self) -> dict[str, Points]:
        """The figures of its log by name, as (iteration, value), finite ones alone, thinned to :data:`MOST_POINTS`."""
        found: dict[str, Points] = {}
        for entry in self.log():
            round_ = entry.get("round")
            if type(round_) is not int:
                continue
            for key, value in entry.items():
                if key not in NO_FIGURES and (number := _number(value)) is not None:
                    found.setdefault(key, []).append((round_, number))
        names = sorted(found, key=_rank)[:MOST_CURVES]
        return {name: _thinned(found[name]) for name in names}

    def events(self) -> list[tuple[int, str]]:
        """What the log says in words, as (iteration, line)."""
        pairs = ((entry.get("round"), entry.get("event")) for entry in self.log())
        return [(r, line) for r, line in pairs if type(r) is int and isinstance(line, str)]

    def held_out(self) -> Points:
        """Its mean loss on pictures that it never trains on, as (iteration, loss): every one."""
        pairs = ((entry.get("round"), _number(entry.get(f"{HELD_OUT}mean"))) for entry in self.log())
        return [(r, value) for r, value in pairs if type(r) is int and value is not None]

    def previews(self) -> dict[str, Path]:
        """Its preview sheets by name, from the first to the newest."""
        folder = self.folder / PREVIEWS
        if not folder.is_dir() or folder.is_symlink():
            return {}
        sheets = (path for path in sorted(folder.glob("*.png")) if path.stem.isdecimal() and _is_plain(path))
        return {path.name: path for path in sheets}

    def preview(self, name: str) -> Path:
        """One of them; raises :class:`UnknownName`."""
        known = self.previews()
        if name not in known:
            raise UnknownName(f"preview of '{self.name}'", name, known)
        return known[name]


def known_runs(runs: Path) -> dict[str, RunFiles]:
    """Every run in the folder ``runs``, by name; links that lead elsewhere are none."""
    return {found.name: found for found in _found(runs)}


def run_called(name: str, runs: Path) -> RunFiles:
    """The run of that name; raises :class:`UnknownName` where it is none of :func:`known_runs`."""
    known = known_runs(runs)
    if name not in known:
        raise UnknownName("run", name, known, "(GET /api/runs lists them)")
    return known[name]


def _found(runs: Path) -> Iterator[RunFiles]:
    for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
        if folder.name == FOLDER or why_no_name(folder.name) is not None or folder.is_symlink():
            continue
        path = folder / RUN
        if not _is_plain(path):
            continue
        found = _read(folder, path.stat().st_mtime_ns)
        if found is not None:
            yield found


@lru_cache(maxsize=4096)
def _read(folder: Path, stamp: int) -> RunFiles | None:
    """The run in a folder; None where its record cannot be read."""
    try:
        table = read_table(folder / RUN)
        recipe, finished = parse_recipe(upgraded_recipe(table), folder.name), bool(table["finished"])
    except (OSError, UsageError, LookupError, TypeError, ValueError, AttributeError):  # a damaged record is no run
        return None
    return RunFiles(folder.name, folder, recipe, finished)


def _is_plain(path: Path) -> bool:
    """Whether that is a file, and no link."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:  # there is none
        return False


@lru_cache(maxsize=4)
def _log(path: Path, stamp: int, size: int) -> list[dict[str, Any]]:
    return read_log(path)


def _number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _rank(name: str) -> tuple[int, str]:
    begins = (k for k, first in enumerate(FIRST) if first and name.startswith(first))
    return next(begins, FIRST.index("")), name


def _thinned(points: Points) -> Points:
    """Evenly chosen points, the last among them."""
    step = -(-len(points) // MOST_POINTS)
    return points[(len(points) - 1) % step :: step] if step > 1 else points
