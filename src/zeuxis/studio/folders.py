"""Where the service keeps what it is given and what it makes; every name in there is its own. Imports no torch."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zeuxis.errors import UsageError
from zeuxis.files import read_table
from zeuxis.provenance.record import write_whole

NAME = re.compile(r"[0-9a-f]{16}")
FOLDER = "studio"  # in the folder of the runs


class Folders:
    """``runs`` holds the trained models; what belongs to the service lies in its folder ``studio``."""

    def __init__(self, runs: Path) -> None:
        self.runs, self.home = runs, runs / FOLDER
        self.jobs, self.uploads = self.home / "jobs", self.home / "uploads"
        self.directions = self.home / "directions"  # of models, found once
        for folder in (self.jobs, self.uploads, self.directions):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def queue(self) -> Path:
        """The file of the jobs."""
        return self.home / "jobs.sqlite"

    def job(self, name: str) -> Path:
        """The folder of a job's results."""
        return self.jobs / _checked("job", name)

    def file(self, job: str, name: str) -> Path:
        """A file among a job's results; raises :class:`UsageError` where it has none of that name."""
        folder = self.job(job)
        there = {path.name: path for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}
        if name not in there:
            raise UsageError(f"job {job} has no file {name!r}: its result lists those that it has")
        return there[name]

    def upload(self, name: str) -> Path:
        """A picture that was given; raises :class:`UsageError` where there is none of that name."""
        path = self.uploads / f"{_checked('upload', name)}.png"
        if not path.is_file():
            raise UsageError(f"there is no upload {name}: give the picture again (POST /api/uploads)")
        return path

    def keep(self, png: bytes, record: Mapping[str, Any] | None = None) -> str:
        """Keep a picture that was given, and the record that came with it; returns its name."""
        name = secrets.token_hex(8)
        if record is not None:
            write_whole(self.uploads / f"{name}.json", json.dumps(record).encode())
        write_whole(self.uploads / f"{name}.png", png)
        return name

    def record_of(self, upload: str) -> dict[str, Any]:
        """The record that came with an upload; raises :class:`UsageError` where none did."""
        path = self.upload(upload).with_suffix(".json")
        if not path.is_file():
            raise UsageError("that picture carries no record of Zeuxis: give a PNG as it was made")
        return read_table(path)

    def forget(self, job: str) -> None:
        """Remove a job's results."""
        shutil.rmtree(self.job(job), ignore_errors=True)


def _checked(what: str, name: str) -> str:
    if NAME.fullmatch(name) is None:
        raise UsageError(f"there is no {what} {name!r}: its name is sixteen of 0-9 and a-f")
    return name


def path_of(ref: Mapping[str, Any], folders: Folders) -> Path:
    """The file of a picture that a request refers to."""
    if ref["upload"] is not None:
        return folders.upload(ref["upload"])
    return folders.file(ref["job"], f"{ref['picture']:04d}.png")


def is_picture(value: Any) -> bool:
    """Whether a value of a request refers to a picture, or to several that are one."""
    return isinstance(value, dict) and ({"upload", "job"} <= value.keys() or isinstance(value.get("parts"), list))


def refs_of(value: Any) -> list[Mapping[str, Any]]:
    """The pictures that a value of a request refers to."""
    match value:
        case list():
            return [ref for each in value for ref in refs_of(each)]
        case {"parts": list() as parts}:
            return parts
        case _:
            return [value] if is_picture(value) else []


def with_paths(condition: Mapping[str, Any], folders: Folders) -> dict[str, Any]:
    """A request's condition with paths in place of pictures; those that are one are a list in a list."""

    def one(value: Any) -> Any:
        if not is_picture(value):
            return value
        paths = [str(path_of(ref, folders)) for ref in refs_of(value)]
        return paths if "parts" in value else paths[0]

    found: dict[str, Any] = {}
    for name, value in condition.items():
        alone = one(value) if not isinstance(value, list) else [one(each) for each in value]
        found[name] = [alone] if is_picture(value) and "parts" in value else alone
    return found
