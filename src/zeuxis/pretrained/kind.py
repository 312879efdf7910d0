"""A kind of published checkpoint is one record: the keys that mark it, the sizes its shapes tell, and its key map.

The map is made from the architecture, and the architecture is read off the tensors' names and shapes. So every key
has its place, in both directions, and a key that is missing or left over is named. ``kinds.py`` is the table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from zeuxis.errors import WeightsError
from zeuxis.spec import DataSpec

# Training programs keep a network's state under one of these, the average first ...
WRAPPERS = ("state_dict.", "model_state_dict.", "params_ema.", "params.")
# ... and that of a generator beside the rest of its game under one of these.
GENERATORS = ("g_ema.", "G_ema.", "net_g_ema.", "netG_ema.", "generator_ema.", "net_g.", "netG.", "generator.", "G.")
PARALLEL = "module."  # put before every key by torch's DataParallel
SOME = 3  # names that a note lists
UNKNOWN = "it is not of an architecture that is known here"


class Architecture(Protocol):
    """The sizes of a system, as its tensors tell them."""

    def spec(self, side: int) -> DataSpec:
        """The facts of the data that it was built for, with pictures of ``side`` pixels."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The constructor's keywords, besides the facts of the data."""


A = TypeVar("A", bound=Architecture)


@dataclass(frozen=True)
class TensorSource:
    """The public tensors that one of ours is made of, concatenated along their first axis."""

    keys: tuple[str, ...]
    pointwise: bool = False  # theirs are kernels of 1x1 convolutions (out, in, 1, 1), ours is a matrix (out, in)
    transposed: bool = False  # theirs are matrices (in, out)


@dataclass(frozen=True, eq=False)
class CheckpointKind(Generic[A]):
    """One kind of published checkpoint of one system, in one program's names."""

    name: str
    system: str  # the id of the system that it becomes
    marks: tuple[str, ...]  # keys that are in every checkpoint of this kind, without a prefix
    config: Callable[[Mapping[str, Tensor]], A]  # reads the architecture off names and shapes
    rename: Callable[[A], Mapping[str, TensorSource]]  # each tensor of ours, and the public ones that it is made of
    published: Mapping[str, A]  # the architectures that were published with weights, by name
    optional: tuple[str, ...] = ()  # prefixes of our tensors that a file may leave out, each as a whole
    optional_arguments: tuple[str, ...] = ()  # the keywords that size them
    not_stored: tuple[str, ...] = ()  # tensors of ours that have no place in a public file
    dropped: tuple[str, ...] = ()  # prefixes of public keys that have no place here
    dropped_endings: tuple[str, ...] = ()  # and endings of such keys
    absent_endings: tuple[str, ...] = ()  # of tensors of ours that a file may lack
    size: int = 256  # height and width of the images that it was published for; the tensors do not tell

    def published_name(self, architecture: A) -> str | None:
        """The name under which an architecture was published, whatever its optional parts; None if it was not."""
        wanted = {k: v for k, v in architecture.arguments.items() if k not in self.optional_arguments}
        return next((n for n, one in self.published.items() if wanted.items() <= one.arguments.items()), None)


@dataclass(frozen=True)
class Found(Generic[A]):
    """What a public checkpoint holds."""

    kind: CheckpointKind[A]
    architecture: A
    tensors: dict[str, Tensor]  # under our names
    dropped: tuple[str, ...]  # keys that have no place here


def from_public(kind: CheckpointKind[A], public: Mapping[str, Tensor]) -> Found[A]:
    """The tensors of a public checkpoint, prefixes stripped, under our names.

    Raises :class:`WeightsError` for what is not of this kind, naming the keys that are missing or left over.
    """
    missing_marks = [mark for mark in kind.marks if mark not in public]
    if missing_marks:
        raise WeightsError(f"this is no {kind.name}: it lacks {', '.join(missing_marks)}")
    architecture = kind.config(public)
    dropped = tuple(sorted(k for k in public if k.startswith(kind.dropped) or k.endswith(kind.dropped_endings)))
    sources = dict(kind.rename(architecture))
    for prefix in kind.optional:
        part = [name for name in sources if name.startswith(prefix)]
        if not any(key in public for name in part for key in sources[name].keys):
            sources = {name: source for name, source in sources.items() if name not in part}
    kept = {key: value for key, value in public.items() if key not in dropped}
    return Found(kind, architecture, gather(sources, kept, f"this {kind.name}"), dropped)


def to_public(kind: CheckpointKind[A], architecture: A, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under the public names: the inverse of :func:`from_public`.

    Raises :class:`WeightsError` when a tensor is missing or left over.
    """
    sources = dict(kind.rename(architecture))
    for prefix in kind.optional:
        if not any(name.startswith(prefix) for name in tensors):
            sources = {name: source for name, source in sources.items() if not name.startswith(prefix)}
    return scatter(sources, {k: v for k, v in tensors.items() if k not in kind.not_stored}, f"this {kind.name}")


def gather(
    sources: Mapping[str, TensorSource], public: Mapping[str, Tensor], what: str, why: str = UNKNOWN
) -> dict[str, Tensor]:
    """Public tensors under our names. ``what`` begins the message of an error, and ``why`` ends it.

    Raises :class:`WeightsError` naming the keys that are missing or left over.
    """
    check_keys(what, {key for source in sources.values() for key in source.keys}, set(public), why)
    return {name: _join(what, source, public) for name, source in sources.items()}


def scatter(sources: Mapping[str, TensorSource], tensors: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Our tensors under public names: the inverse of :func:`gather`, which raises as it does."""
    check_keys(what, set(sources), set(tensors))
    public = {}
    for name, source in sources.items():
        parts = tensors[name].chunk(len(source.keys)) if len(source.keys) > 1 else [tensors[name]]
        for key, part in zip(source.keys, parts, strict=True):
            public[key] = part[:, :, None, None] if source.pointwise else part.T if source.transposed else part
    return public


def unwrapped(keys: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """The prefix under which a file keeps a network's whole state (``state_dict.``), and the keys under it, in full.

    Prefixes may lie within another (``module.params.``). Other tensors of such a file are the state of its training, or
    the players that a generator was trained with. The prefix is empty where there is none.
    """
    place, inside = "", tuple(keys)
    while (wrapper := _wrapper(place, inside)) is not None:
        place += wrapper
        inside = tuple(key for key in inside if key.startswith(place))
    return place, inside


def _wrapper(place: str, keys: tuple[str, ...]) -> str | None:
    """What is next to be stripped of ``keys`` that begin with ``place``."""
    known = (one for one in (*WRAPPERS, *GENERATORS) if any(key.startswith(place + one) for key in keys))
    parallel = keys and all(key.startswith(place + PARALLEL) for key in keys)
    return PARALLEL if parallel else next(known, None)


def told_of_wrapper(keys: Iterable[str]) -> str | None:
    """In words, what :func:`unwrapped` strips of names, and which tensors it leaves unused; None where nothing."""
    every = tuple(keys)
    return told_of_place(every, *unwrapped(every))


def told_of_place(every: Collection[str], place: str, inside: Collection[str]) -> str | None:
    """The same of a prefix that is known, and the keys under it."""
    if not place:
        return None
    left = sorted({*every} - {*inside})
    more = f" and {len(left) - SOME} more" if len(left) > SOME else ""
    rest = f"; tensors under other names, left unused: {', '.join(left[:SOME])}{more}" if left else ""
    return f"'{place}' is stripped of the names of its tensors{rest}"


def recognise(keys: Iterable[str], kinds: Iterable[CheckpointKind[Any]]) -> dict[str, CheckpointKind[Any]]:
    """The prefixes at which checkpoints of these kinds lie, each with its kind: the first whose marks are all there."""
    names, found = set(keys), {}
    for kind in kinds:
        first = kind.marks[0]
        for prefix in sorted(key.removesuffix(first) for key in names if key.endswith(first)):
            whole_name = not prefix or prefix.endswith(".")
            if whole_name and prefix not in found and all(prefix + mark in names for mark in kind.marks):
                found[prefix] = kind
    return found


def _join(what: str, source: TensorSource, public: Mapping[str, Tensor]) -> Tensor:
    parts = [public[key] for key in source.keys]
    if len({part.shape for part in parts}) > 1:
        raise WeightsError(f"{what}: {', '.join(source.keys)} are not of one shape; it is not one that is known here")
    if source.pointwise:
        parts = [part.flatten(1) for part in parts]
    if source.transposed:
        parts = [part.T.contiguous() for part in parts]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def check_keys(what: str, wanted: set[str], given: set[str], why: str = UNKNOWN) -> None:
    """Raise :class:`WeightsError` where keys are missing or left over, naming them between ``what`` and ``why``."""
    for verb, keys in (("lacks", wanted - given), ("also holds", given - wanted)):
        if keys:
            some = ", ".join(sorted(keys)[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
            raise WeightsError(f"{what} {verb} {some}: {why}")
