"""Restorers from the user's own files: safetensors in public names, or ncnn's two files. Pickles are never opened."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from zeuxis.errors import UsageError, WeightsError, paths_near
from zeuxis.escaping import word
from zeuxis.files import file_hash, other_format, why_no_tensors
from zeuxis.knobs import Sampling
from zeuxis.pretrained.kind import told_of_place
from zeuxis.pretrained.ncnn_graphs import graph_network
from zeuxis.pretrained.ncnn_networks import network_of
from zeuxis.pretrained.ncnn_numbers import read_network
from zeuxis.pretrained.parts import PICKLES
from zeuxis.pretrained.restorer import Restorer, task_of
from zeuxis.pretrained.restorer_keys import is_restorer, known_look, place_of, read_public
from zeuxis.pretrained.upscalers import Upscaler

UNKNOWN_LICENCE = "not known: see where the file is from"


def load_restorer_file(path: Path) -> Restorer:
    """The restorer in a file.

    Raises :class:`UsageError` where there is none or it is a pickle, :class:`WeightsError` for what it is not known.
    """
    if path.suffix == ".param":
        return load_ncnn(str(path), path, path.with_suffix(".bin"), UNKNOWN_LICENCE)
    if not path.is_file():
        if near := paths_near(str(path)):
            raise UsageError(f"there is no file {path}: did you mean {' or '.join(near)}?")
        raise UsageError(f"there is no file {path}: give a checkpoint in safetensors, or ncnn's .param beside its .bin")
    if path.suffix == ".bin" and (graph := path.with_suffix(".param")).is_file():
        raise UsageError(f"{path} holds the numbers of ncnn: give {graph.name} beside it")
    if path.suffix in PICKLES:
        raise UsageError(
            f"{path} is a pickle, which is never opened here: zeuxis convert {word(path)}, then --model its result"
        )
    if (what := other_format(path)) is not None:
        raise UsageError(f"{path} cannot be read: {what}")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {why_no_tensors(path, error)}") from None
    network, _ = read_public(tensors, str(path))
    told = told_of_place(tensors, *place_of({key: tuple(tensor.shape) for key, tensor in tensors.items()}))
    notes = () if told is None else (f"{path}: {told}",)
    return Restorer(str(path), network, task_of(network), file_hash(path), UNKNOWN_LICENCE, notes=notes)


def load_ncnn(name: str, graph: Path, numbers: Path, licence: str) -> Restorer:
    """The restorer called ``name`` in ncnn's two files.

    Raises as :func:`zeuxis.pretrained.ncnn_numbers.read_network`, and where they are no network for pictures.
    """
    network = network_of(read_network(graph, numbers), name)
    return Restorer(name, network, task_of(network), _hash_of(graph, numbers), licence)


def load_published(name: str, folder: Path, upscaler: Upscaler, how: Sampling) -> Restorer:
    """The restorer of a wheel whose networks lie in ``folder``; raises as :func:`load_ncnn`."""
    asked = upscaler.asked(how)
    graph, numbers = (folder / f"{asked.stem}.{end}" for end in ("param", "bin"))
    read = read_network(graph, numbers)
    plain = not asked.maps and not upscaler.onto_given
    network = (
        network_of(read, name) if plain else graph_network(read, name, maps=asked.maps, onto_given=upscaler.onto_given)
    )
    turned = tuple(sorted(how.items()))
    return Restorer(name, network, upscaler.task, _hash_of(graph, numbers), upscaler.licence, knobs=turned)


def _hash_of(graph: Path, numbers: Path) -> str:
    return hashlib.sha256(graph.read_bytes() + numbers.read_bytes()).hexdigest()


def holds_restorer(file: Path) -> bool:
    """Whether a file of safetensors is a restorer that is known here."""
    return is_restorer(_shapes_in(file))


def look_of(file: Path) -> str | None:
    """Which well-known network that is no restorer here a file of safetensors looks like, if any."""
    shapes = _shapes_in(file)
    place, inside = place_of(shapes)
    return known_look({key.removeprefix(place): shapes[key] for key in inside})


def _shapes_in(file: Path) -> dict[str, tuple[int, ...]]:
    """The names and shapes of its tensors; none of what is no such file."""
    try:
        with safe_open(file, "pt") as found:
            return {key: tuple(found.get_slice(key).get_shape()) for key in found.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        return {}
