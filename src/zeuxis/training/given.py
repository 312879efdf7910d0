"""Systems that a system was given (a tokeniser, an autoencoder): which of them a checkpoint names instead of holding.

A given system that is frozen and has an origin (it was loaded from a model folder) is stored by name and hash. One
without an origin is stored with the system that it was given to, and so are parts of a given system that are trained
and whatever was put into it afterwards, such as an adapter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from zeuxis.game import System

ELSEWHERE = "_kept_elsewhere"  # in a module of a loaded system: the names of its own tensors that the file had


def systems_in(path: str, value: Any) -> Iterator[tuple[str, System]]:
    """The systems that a constructor's argument is or holds, with where they are in it."""
    if isinstance(value, System):
        yield path, value
    elif isinstance(value, (tuple, list)):
        for k, item in enumerate(value):
            yield from systems_in(f"{path}.{k}", item)


def given_systems(system: System) -> dict[str, System]:
    """The systems among the constructor's arguments, by keyword; those of a tuple as ``keyword.number``."""
    return {path: given for key, value in system.config.items() for path, given in systems_in(key, value)}


def kept_apart(system: System) -> dict[str, System]:
    """The given systems that are frozen and have an origin: whoever stores ``system`` stores only their names.

    Those of given systems that are themselves stored here are among them, under a longer path.
    """
    frozen = {id(m) for part in system.frozen for m in part.modules()}
    apart: dict[str, System] = {}
    for path, given in given_systems(system).items():
        if given.origin is not None and id(given) in frozen:
            apart[path] = given
        else:
            apart |= {f"{path}.{inner}": held for inner, held in kept_apart(given).items()}
    return apart


def stored(system: System) -> dict[str, Tensor]:
    """What a checkpoint holds, by name: the state without what given systems hold elsewhere."""
    elsewhere = {
        id(tensor)
        for given in kept_apart(system).values()
        for module in given.modules()
        for name, tensor in (*module._parameters.items(), *module._buffers.items())
        if name in module.__dict__.get(ELSEWHERE, ())
    }
    state = system.state_dict(keep_vars=True)
    return {name: t for name, t in state.items() if t.requires_grad or id(t) not in elsewhere}


def mark_kept(system: System) -> None:
    """Note in every module which tensors of its own the file of ``system`` holds (see :func:`stored`)."""
    for module in system.modules():
        module.__dict__[ELSEWHERE] = frozenset(module._parameters) | frozenset(module._buffers)
