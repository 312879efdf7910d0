"""What must be, and what should be, as it was when a checkpoint was written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zeuxis.errors import DataError, WeightsError
from zeuxis.version import __version__


def differences(folder: Path, saved: Mapping[str, Any], given: Mapping[str, str], own: Mapping[str, Any]) -> list[str]:
    """Lines on what differs between a checkpoint's facts ``saved`` and this training, and may.

    ``given`` are the hashes of the given systems, ``own`` the facts of the model to come.

    Raises:
        WeightsError: the run in ``folder`` was begun upon other weights.
        DataError: on other pictures.
    """
    for path, sha in given.items():
        if saved.get("given", {}).get(path, sha) != sha:  # older checkpoints do not say
            raise WeightsError(
                f"the run in {folder} was begun upon other weights of model.{path}: "
                "put those back, or use another --out"
            )
    return [*must_be_same_pictures(folder, saved, own), *_other_code(saved, own)]


def code_of(facts: Mapping[str, Any]) -> dict[str, str | None]:
    """By what code a checkpoint is written: the version, and the commit where the sources are of one."""
    return {"version": __version__, "commit": facts.get("commit")}


def _other_code(saved: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    was, now = saved.get("code"), code_of(own)
    if was is None or was == now:  # older checkpoints do not say
        return []
    return [
        f"the checkpoint was written by {_spelled(was)} and is gone on with by {_spelled(now)}: where the code of the "
        "method changed, the weights will not be those of a run in one piece"
    ]


def _spelled(code: Mapping[str, Any]) -> str:
    commit = code.get("commit")
    if not isinstance(commit, str):
        return f"zeuxis {code.get('version')}"
    head, _, changed = commit.partition("-")
    return f"zeuxis {code.get('version')} at commit {head[:12]}{' with changes of its own' if changed else ''}"


def must_be_same_pictures(folder: Path, saved: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """A line where older facts do not tell what pictures a run was begun on; DataError where they were others."""
    now = own.get("reference")
    if now is None:
        return []
    if saved.get("reference") is None:
        return ["the checkpoint is of an older version, which did not note its pictures: they were not compared"]
    if saved["reference"] != now:
        raise DataError(
            f"the pictures of '{own.get('data')}' are not those that the run in {folder} was begun on (fingerprint "
            f"{saved['reference']}, now {now}): put those back, or begin anew with --fresh or another --out (--from "
            f"{folder} starts from its weights)"
        )
    return []


def other_threads(was: int | None, now: int) -> list[str]:
    """A line where a checkpoint was written with ``was`` threads and training goes on with ``now``; None: not known."""
    if was in (None, now):
        return []
    return [
        f"the run was saved with {was} {'thread' if was == 1 else 'threads'} and goes on with {now}: sums are rounded "
        "in another order, so its weights will be close to those of a run in one piece, but not bit-equal"
    ]
