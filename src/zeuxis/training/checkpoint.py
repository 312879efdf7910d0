"""Checkpoints: written whole or not at all, and never a pickle.

A checkpoint is a folder ``checkpoints/<round>/`` with ``state.safetensors`` and ``state.json``;
the JSON holds the SHA-256 of the tensors, so a damaged one is recognised and the one before it
is used. It appears by a rename, after everything in it has reached the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from zeuxis.errors import TrainingStopped, WeightsError
from zeuxis.game import System
from zeuxis.training.given import kept_apart, stored
from zeuxis.training.legacy import FORMAT, format_of, upgraded_card, upgraded_facts, upgraded_tensors
from zeuxis.training.state import Tensors

LARGE = 2**28  # bytes: weights of a model above it are mapped from the disk


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_folder(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], stem: str) -> None:
    """Put ``<stem>.safetensors`` and ``<stem>.json`` into ``folder``, replacing the whole of it atomically."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        weights, card = draft / f"{stem}.safetensors", draft / f"{stem}.json"
        # Cloned, because safetensors refuses tensors that share memory (tied weights).
        save_file({k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}, weights)
        card.write_text(json.dumps({"format": FORMAT, **facts, "sha256": sha256(weights)}, indent=1), encoding="utf-8")
        for path in (weights, card):
            path.chmod(0o644)  # safetensors leaves weights to their owner alone
        for path in (weights, card, draft):
            _sync(path)
        draft.chmod(0o755)
        if folder.exists():
            # A folder cannot be replaced in one step: the old one steps aside first, and
            # ``read_folder`` looks for it there should we be killed between the two renames.
            aside = folder.with_name(f".old-{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            draft.rename(folder)
            shutil.rmtree(aside)
        else:
            draft.rename(folder)
        _sync(folder.parent)
    except (OSError, SafetensorError) as error:
        raise TrainingStopped(
            f"cannot write {folder}: {error}; free some disk space and run the same command to go on"
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def read_folder(folder: Path, stem: str, *, mapped: bool = False) -> tuple[Tensors, dict[str, Any]]:
    """What :func:`write_folder` wrote; raises :class:`WeightsError` when it is missing or damaged.

    With ``mapped`` tensors stay in the file until they are touched. Then only the file's length is checked, for its
    hash cannot be known without reading all of it.
    """
    aside = folder.with_name(f".old-{folder.name}")
    if not folder.exists() and aside.exists():
        folder = aside
    weights, card = folder / f"{stem}.safetensors", folder / f"{stem}.json"
    try:
        facts = json.loads(card.read_text(encoding="utf-8"))
        expected = facts["sha256"]
        if not mapped and sha256(weights) != expected:
            raise WeightsError(f"{weights} is damaged: its hash is not the one written in {card.name}")
        tensors = load_file(weights)
        if not mapped:
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        return upgraded_tensors(tensors, format_of(facts)), upgraded_facts(facts)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise WeightsError(f"cannot read {folder}: {error}") from None


def read_model(folder: Path) -> tuple[Tensors, dict[str, Any]]:
    """What :func:`write_model` wrote, or an older version did: the weights and the card, in today's words.

    Weights of more than ``LARGE`` bytes are mapped.
    """
    weights = folder / "model.safetensors"
    tensors, card = read_folder(folder, "model", mapped=weights.is_file() and weights.stat().st_size > LARGE)
    return tensors, upgraded_card(card)


def write_model(folder: Path, system: System, facts: Mapping[str, Any]) -> None:
    """The system alone, ready to be loaded by name: ``model.safetensors`` and its card ``model.json``.

    Frozen systems that it was given are written by name and hash; those that are kept nowhere, whole.
    """
    apart = {id(given) for given in kept_apart(system).values()}
    config = _plain(system.config, apart, folder)
    card = {"system": system.card.id, "config": config, "spec": system.spec.as_dict(), **facts}
    write_folder(folder, stored(system), card, "model")


def _plain(value: Any, apart: Set[int], folder: Path) -> Any:
    """Constructor values as JSON has them; systems in ``apart`` (their ids) by where they are kept."""
    if isinstance(value, Mapping):
        return {k: _plain(v, apart, folder) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v, apart, folder) for v in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, System):
        if id(value) in apart:
            return _reference(value, folder)
        config = _plain(value.config, apart, folder)
        return {"system": value.card.id, "config": config, "spec": value.spec.as_dict()}
    raise TypeError(f"a constructor value of type {type(value).__name__} cannot be written to a model's card")


def _reference(given: System, folder: Path) -> dict[str, Any]:
    """Where a given system is kept: its name or folder, that folder as seen from ``folder``, and its hash."""
    if given.origin is None:
        raise ValueError(f"'{given.card.id}' is kept nowhere: it has no origin")
    name, sha = given.origin.name, given.origin.sha256
    near = {"near": os.path.relpath(name, folder.resolve())} if Path(name).is_absolute() else {}
    return {"given": {"model": name, **near, "sha256": sha}}


def misfit(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> str | None:
    """Why ``tensors`` cannot take the place of ``own``, in a few words; None if they can."""
    for kind, names in (("lacks", own.keys() - tensors.keys()), ("has", tensors.keys() - own.keys())):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            return f"it {kind} {min(names)}{more}"
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            return f"{name} is {tuple(tensors[name].shape)}, want {tuple(tensor.shape)}"
    return None


@torch.no_grad()
def put_back(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], what: str, mend: str) -> None:
    """Copy ``tensors`` into ``own``, in its types and on its devices.

    Raises:
        WeightsError: names or shapes differ; ``what`` and ``mend`` begin and end the message.
    """
    why = misfit(own, tensors)
    if why is not None:
        raise WeightsError(f"{what}: {why}; {mend}")
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def without_given(system: System, tensors: Mapping[str, Tensor]) -> Tensors:
    """``tensors`` without what given systems hold: older checkpoints have copies of it."""
    elsewhere = system.state_dict().keys() - stored(system).keys()
    return {name: tensor for name, tensor in tensors.items() if name not in elsewhere}


class Checkpoints:
    """The training states of a run, newest last; only the last ``keep`` stay."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep

    def save(self, round: int, tensors: Tensors, facts: dict[str, Any]) -> Path:
        """Write the state after ``round`` rounds, then remove what is too old."""
        path = self.folder / f"{round:08d}"
        write_folder(path, tensors, facts, "state")
        for old in self.paths()[: -self.keep]:
            shutil.rmtree(old)
        for stray in self.folder.glob(".draft-*"):
            shutil.rmtree(stray, ignore_errors=True)
        return path

    def paths(self) -> list[Path]:
        """The checkpoint folders, oldest first."""
        return sorted(p for p in self.folder.glob("[0-9]*") if p.is_dir())

    def newest(self) -> tuple[Tensors, dict[str, Any], list[str]] | None:
        """The newest valid state, with a line on each damaged one that was passed over; None if there is none."""
        passed: list[str] = []
        for path in reversed(self.paths()):
            try:
                tensors, facts = read_folder(path, "state")
            except WeightsError as error:
                passed.append(str(error))
                continue
            return tensors, facts, passed
        return None
