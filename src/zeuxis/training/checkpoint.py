"""Checkpoints: written whole or not at all, and never a pickle.

A checkpoint is a folder ``checkpoints/<round>/`` with ``state.safetensors`` and ``state.json``;
the JSON holds the SHA-256 of the tensors and its own, so a damaged one is recognised: it is set aside, and the one
before it is used. Where none is sound training is refused, and nothing is touched. A checkpoint appears by a rename,
after everything in it has reached the disk.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import Tensor

from zeuxis.errors import TrainingStopped, WeightsError, mend_of
from zeuxis.files import draft_folder, file_hash, is_utf8, read_bytes, read_table, require_regular, spelt_error
from zeuxis.game import System
from zeuxis.training.exchange import exchange, settled
from zeuxis.training.given import kept_apart, stored
from zeuxis.training.legacy import FORMAT, format_of, upgraded_card, upgraded_facts, upgraded_tensors
from zeuxis.training.log import free_name
from zeuxis.training.state import Tensors

OWN_HASH = "facts_sha256"  # in a checkpoint's JSON: of all the facts beside it
LARGE = 2**28  # bytes: weights of a model above it are mapped from the disk


class LaterFormat(WeightsError):
    """A folder that a later version of the library wrote: nothing is wrong with it."""


def hash_of(facts: Mapping[str, Any]) -> str:
    """The SHA-256 of a checkpoint's facts, but for what is added to them as they are written."""
    own = {key: value for key, value in facts.items() if key not in ("format", "sha256", OWN_HASH)}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def as_os_error(error: OSError | SafetensorError) -> OSError:
    """What the system said: safetensors has its number in words."""
    if isinstance(error, OSError):
        return error
    found = re.search(r"os error (\d+)", str(error))
    return OSError(int(found[1]) if found else errno.EIO, str(error))


def write_folder(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], stem: str) -> None:
    """Put ``<stem>.safetensors`` and ``<stem>.json`` into ``folder``, replacing the whole of it atomically."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(folder) as draft:
            weights, card = draft / f"{stem}.safetensors", draft / f"{stem}.json"
            # Cloned, because safetensors refuses tensors that share memory (tied weights).
            save_file({k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}, weights)
            text = json.dumps({"format": FORMAT, **facts, "sha256": file_hash(weights)}, indent=1)
            card.write_text(text, encoding="utf-8")
            weights.chmod(card.stat().st_mode & 0o777)  # safetensors leaves weights to their owner alone
            for path in (weights, card, draft):
                _sync(path)
            exchange(draft, folder)
        _sync(folder.parent)
    except (OSError, SafetensorError) as error:
        mend = mend_of(as_os_error(error), "give another --out")
        raise TrainingStopped(f"cannot write {folder}: {error}; {mend}; then the same command goes on") from None


def read_folder(folder: Path, stem: str, *, mapped: bool = False) -> tuple[Tensors, dict[str, Any]]:
    """What :func:`write_folder` wrote; raises :class:`WeightsError` when it is missing or damaged.

    With ``mapped`` tensors stay in the file until they are touched. Then only the file's length is checked, for its
    hash cannot be known without reading all of it.
    """
    return settled(folder, lambda place: _read_folder(place, stem, mapped))


def _read_folder(folder: Path, stem: str, mapped: bool) -> tuple[Tensors, dict[str, Any]]:
    facts = _checked_facts(folder, stem, hashed=not mapped)
    path = folder / f"{stem}.safetensors"
    try:
        tensors = _tensors(path)
        if not mapped:
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        return upgraded_tensors(tensors, format_of(facts)), upgraded_facts(facts)
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"cannot read {folder}: {spelt_error(error)}") from None


def _tensors(path: Path) -> Tensors:
    """The tensors of a file, mapped; safetensors opens no name that is not UTF-8, so such a one is read."""
    size = require_regular(path).st_size
    try:
        return load_file(path) if is_utf8(path) else load(read_bytes(path, size))
    except RuntimeError as error:  # torch opens it by its name once more, when it may have been exchanged
        if "unable to open file" not in str(error):
            raise
        raise FileNotFoundError(errno.ENOENT, "it went while it was read", str(path)) from None


def checked_facts(folder: Path, stem: str, *, hashed: bool = True) -> dict[str, Any]:
    """The facts that :func:`write_folder` wrote, of any version; ``hashed`` also reads the tensors to check their hash.

    Raises:
        LaterFormat: a later version of the library wrote them.
        WeightsError: something is missing or damaged.
    """
    return settled(folder, lambda place: _checked_facts(place, stem, hashed=hashed))


def _checked_facts(folder: Path, stem: str, *, hashed: bool) -> dict[str, Any]:
    weights, card = folder / f"{stem}.safetensors", folder / f"{stem}.json"
    try:
        facts = _table(card)
        format, expected = format_of(facts), facts["sha256"]
        if format > FORMAT:
            raise LaterFormat(
                f"{folder} is of format {format}, written by a later version of zeuxis than this one, which reads up "
                f"to {FORMAT}: update zeuxis"
            )
        if hashed and file_hash(weights) != expected:
            raise WeightsError(f"{weights} is damaged: its hash is not the one written in {card.name}")
    except KeyError as error:
        raise WeightsError(f"cannot read {folder}: {card.name} has no {error}") from None
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f"cannot read {folder}: {spelt_error(error)}") from None
    return facts


def _table(card: Path) -> dict[str, Any]:
    try:
        return read_table(card)
    except ValueError as error:
        raise WeightsError(f"{card} is damaged: it is not a table of JSON ({error})") from None


def read_model(folder: Path) -> tuple[Tensors, dict[str, Any]]:
    """What :func:`write_model` wrote, or an older version did: the weights and the card, in today's words.

    Weights of more than ``LARGE`` bytes are mapped.
    """
    tensors, card = settled(folder, lambda place: _read_folder(place, "model", _is_large(place)))
    try:
        return tensors, upgraded_card(card)
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{folder / 'model.json'} is damaged: it is no model's card ({error!r})") from None


def _is_large(folder: Path) -> bool:
    try:
        return require_regular(folder / "model.safetensors").st_size > LARGE
    except OSError as error:
        raise WeightsError(f"cannot read {folder}: {spelt_error(error)}") from None


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


def _require_own_hash(path: Path, facts: Mapping[str, Any]) -> None:
    """Raise WeightsError where a checkpoint's facts are not those that were written; older ones hold no hash."""
    if format_of(facts) == FORMAT and facts.get(OWN_HASH, hash_of(facts)) != hash_of(facts):
        raise WeightsError(f"{path / 'state.json'} is damaged: its hash is not the one written in it")


def numbered(folder: Path) -> list[Path]:
    """The folders in ``folder`` that are called after a round, in their order; "00000400 (copy)" is somebody's own."""
    return sorted((p for p in folder.glob("[0-9]*") if p.name.isdecimal() and p.is_dir()), key=lambda p: int(p.name))


class Checkpoints:
    """The training states of a run, newest last; only the last ``keep`` sound ones stay.

    Of several processes only one ``writes``: it alone sets damaged ones aside.
    """

    def __init__(self, folder: Path, keep: int = 2, *, writes: bool = True) -> None:
        self.folder = folder
        self.keep = keep
        self.writes = writes

    def save(self, round: int, tensors: Tensors, facts: dict[str, Any]) -> Path:
        """Write the state after ``round`` rounds, then remove what is older than the last ``keep`` sound ones."""
        path = self.folder / f"{round:08d}"
        write_folder(path, tensors, {**facts, OWN_HASH: hash_of(facts)}, "state")
        sound = 1
        for old in reversed(self.paths()):
            if old == path:
                continue
            if sound >= self.keep:
                shutil.rmtree(old)
            elif self._is_sound(old):
                sound += 1
        return path

    def paths(self) -> list[Path]:
        """The checkpoint folders, oldest first."""
        return numbered(self.folder)

    def newest(self) -> tuple[Tensors, dict[str, Any], list[str]] | None:
        """The newest sound state, with a line on each damaged one above it, which is set aside; None if there is none.

        Raises:
            WeightsError: there are checkpoints and all are damaged, or the newest is of a later version.
        """
        self._finish_replacing()
        damaged: list[tuple[Path, str]] = []
        for path in reversed(self.paths()):
            try:
                tensors, facts = self._read(path)
            except LaterFormat:
                raise
            except WeightsError as error:
                damaged.append((path, str(error)))
                continue
            return tensors, facts, [self._set_aside(path, why) for path, why in damaged]
        if damaged:
            raise WeightsError(
                f"no checkpoint in {self.folder} is sound ({'; '.join(why for _, why in damaged)}): nothing was "
                "changed; put back a sound copy of one, or begin anew with another --out"
            )
        return None

    def last_good(self) -> str:
        """Where the newest sound checkpoint is, in words."""
        for path in reversed(self.paths()):
            if self._is_sound(path):
                return f"the last good checkpoint is {path}"
        return "there is no good checkpoint yet"

    def _read(self, path: Path) -> tuple[Tensors, dict[str, Any]]:
        tensors, facts = read_folder(path, "state")
        _require_own_hash(path, facts)
        return tensors, facts

    def _is_sound(self, path: Path) -> bool:
        try:
            _require_own_hash(path, checked_facts(path, "state"))
        except LaterFormat:
            return True
        except WeightsError:
            return False
        return True

    def _set_aside(self, path: Path, why: str) -> str:
        """Rename a damaged checkpoint, which is kept; returns a line that says so."""
        if not self.writes:
            return why
        aside = free_name(path.with_name(f"damaged-{path.name}"))
        path.rename(aside)
        return f"{why}; it was set aside as {aside}, and an older one is gone on from"

    def _finish_replacing(self) -> None:
        """Put back what stepped aside for a checkpoint that never came (see :func:`write_folder`)."""
        for aside in self.folder.glob(".old-[0-9]*") if self.writes else ():
            if not (self.folder / aside.name.removeprefix(".old-")).exists():
                aside.rename(self.folder / aside.name.removeprefix(".old-"))
