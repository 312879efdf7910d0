"""Networks in ncnn's two files, read by us: the graph (``.param``, text) and its numbers (``.bin``). Nothing is run.

The graph is one line for each layer: ``Kind name inputs outputs <input names> <output names> key=value ...``, after a
line with the magic number and one with how many layers and how many names there are. A key below -23300 is an array:
``-23310=2,0.1,0.2`` is key 10 with two values.

The numbers of all layers lie one behind another in the order of the graph, each layer as its kind has it. A weight
begins with a tag of four bytes that says how it is kept: 0 is float32, :data:`HALF` half precision (filled up to a
multiple of four bytes). Tables of quantised weights and whole numbers are refused by name.

Files come from anywhere. Sizes are compared with the file's length before anything is taken, and every count is
bounded.
"""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zeuxis.errors import UsageError, WeightsError

MAGIC = "7767517"
FLOAT, HALF, EIGHT, RAW = 0, 0x01306B47, 0x000D4B38, 0x0002C056
MOST_TEXT = 8 << 20  # bytes of a graph
MOST_BYTES = 4 << 30  # of numbers
MOST_LAYERS, MOST_ENDS = 20_000, 64  # layers; names that one layer takes or makes
ARRAY = -23300  # keys from here down are arrays
MOST_ARRAY = 1024
NAME = re.compile(r"[\w./:\-]{1,200}")
Value = int | float | tuple[int | float, ...]


@dataclass(frozen=True)
class GraphLayer:
    """A line of a graph."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    facts: Mapping[int, Value]

    def whole(self, key: int, default: int = 0) -> int:
        """The whole number under ``key``; raises :class:`WeightsError` where it is something else."""
        found = self.facts.get(key, default)
        if not isinstance(found, int):
            raise WeightsError(f"layer {self.name} has {key}={found}, where a whole number stands")
        return found

    def reals(self, key: int) -> tuple[float, ...]:
        """The array under ``key``, empty without one."""
        found = self.facts.get(key, ())
        return tuple(map(float, found)) if isinstance(found, tuple) else (float(found),)


@dataclass(frozen=True)
class NcnnNetwork:
    """A graph and the numbers of its layers: ``weight``, ``bias`` or ``slope``, by the layer's name."""

    layers: tuple[GraphLayer, ...]
    tensors: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)


def read_network(graph: Path, numbers: Path) -> NcnnNetwork:
    """The network in two files.

    Raises :class:`UsageError` where one is no file, :class:`WeightsError` where it is damaged, of another form, or does
    not hold as many numbers as the graph says.
    """
    layers = read_graph(graph)
    length = _length(numbers, MOST_BYTES)
    reader = _Numbers(numbers, length)
    tensors = {layer.name: found for layer in layers if (found := reader.of(layer))}
    if reader.at != length:
        raise WeightsError(f"{numbers} holds {length - reader.at} bytes more than {graph.name} has layers for")
    return NcnnNetwork(layers, tensors)


# -- the graph ----------------------------------------------------------------------------------------


def read_graph(path: Path) -> tuple[GraphLayer, ...]:
    """The layers of a ``.param`` file, in its order; raises as :func:`read_network`."""
    _length(path, MOST_TEXT)
    try:
        lines = path.read_bytes().decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise WeightsError(f"{path} is not the text of an ncnn graph: give the .param file") from None
    if not lines or lines[0].strip() != MAGIC:
        raise WeightsError(f"{path} does not begin with {MAGIC}: it is not the text of an ncnn graph")
    counts = lines[1].split() if len(lines) > 1 else []
    if len(counts) != 2 or not all(word.isdecimal() and len(word) < 8 for word in counts):
        raise WeightsError(f"{path}:2: it does not say how many layers and names there are")
    body = [(k, line) for k, line in enumerate(lines[2:], 3) if line.strip()]
    if len(body) != int(counts[0]) or len(body) > MOST_LAYERS:
        raise WeightsError(f"{path} says {counts[0]} layers and has {len(body)} (at most {MOST_LAYERS})")
    layers, names, made = [], set[str](), set[str]()
    for k, line in body:
        layer = _layer(line, f"{path}:{k}")
        if layer.name in names or made & set(layer.outputs):
            raise WeightsError(f"{path}:{k}: a name in it stands for something already")
        if missing := [name for name in layer.inputs if name not in made]:
            raise WeightsError(f"{path}:{k}: it takes {missing[0]}, which no layer before it makes")
        names.add(layer.name)
        made |= set(layer.outputs)
        layers.append(layer)
    if len(made) != int(counts[1]):
        raise WeightsError(f"{path} says {counts[1]} names and has {len(made)}")
    return tuple(layers)


def _layer(line: str, where: str) -> GraphLayer:
    words = line.split()
    if len(words) < 4 or not all(word.isdecimal() and len(word) < 4 for word in words[2:4]):
        raise WeightsError(f"{where}: not a layer: kind, name, how many it takes and how many it makes")
    takes, makes = int(words[2]), int(words[3])
    ends = words[4 : 4 + takes + makes]
    if max(takes, makes) > MOST_ENDS or len(ends) != takes + makes:
        raise WeightsError(f"{where}: it says {takes} inputs and {makes} outputs and names {len(ends)}")
    if wrong := [word for word in (*words[:2], *ends) if not NAME.fullmatch(word)]:
        raise WeightsError(f"{where}: {wrong[0][:40]!r} is no name")
    facts: dict[int, Value] = {}
    for word in words[4 + takes + makes :]:
        key, _equals, text = word.partition("=")
        try:
            number = int(key)
            facts[ARRAY - number if number <= ARRAY else number] = _value(number, text)
        except ValueError:
            raise WeightsError(f"{where}: {word[:40]!r} is no key=value of numbers") from None
    return GraphLayer(words[0], words[1], tuple(ends[:takes]), tuple(ends[takes:]), facts)


def _value(key: int, text: str) -> Value:
    """A number, or an array after its length; raises ValueError for anything else."""
    if key > ARRAY:
        return _number(text)
    length, *parts = text.split(",")
    if int(length) != len(parts) or len(parts) > MOST_ARRAY:
        raise ValueError(text)
    return tuple(map(_number, parts))


def _number(text: str) -> int | float:
    if len(text) > 32:
        raise ValueError(text)
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(text)
    return found


# -- the numbers --------------------------------------------------------------------------------------


class _Numbers:
    """Reads a ``.bin`` file from its beginning, layer by layer."""

    def __init__(self, path: Path, length: int) -> None:
        self.path, self.length, self.at = path, length, 0

    def of(self, layer: GraphLayer) -> dict[str, Tensor]:
        """What the file holds of ``layer``; nothing of kinds without numbers."""
        match layer.kind:
            case "Convolution":
                return self._convolution(layer)
            case "PReLU":
                return {"slope": self._floats(layer.whole(0), layer)}
            case "Input" | "Split" | "Concat" | "Eltwise" | "BinaryOp" | "Interp" | "PixelShuffle" | "ReLU" | "Crop":
                return {}
            case kind:
                raise WeightsError(f"{self.path}: layer {layer.name} is a {kind[:40]}, whose numbers are not read here")

    def _convolution(self, layer: GraphLayer) -> dict[str, Tensor]:
        out, wide, count = layer.whole(0), layer.whole(1), layer.whole(6)
        high = layer.whole(11, wide)
        each = out * wide * high
        if min(out, wide, high, count) < 1 or count % each:
            raise WeightsError(f"{self.path}: {layer.name} has {count} weights, for {out} kernels of {wide}x{high}")
        if layer.whole(8):
            raise WeightsError(
                f"{self.path}: {layer.name} is quantised to whole numbers: give the network in half precision"
            )
        weight = self._tagged(count, layer).reshape(out, count // each, high, wide)
        return {"weight": weight, **({"bias": self._floats(out, layer)} if layer.whole(5) else {})}

    def _tagged(self, count: int, layer: GraphLayer) -> Tensor:
        """``count`` numbers after a tag, in float32."""
        tag = int(np.frombuffer(self._take(4, layer), "<u4")[0])
        if tag in (FLOAT, RAW):
            return self._floats(count, layer)
        if tag == HALF:
            halves = np.frombuffer(self._take(-(-2 * count // 4) * 4, layer), "<f2")[:count]
            return self._sound(halves.astype(np.float32), layer)
        kind = "whole numbers of eight bits" if tag == EIGHT else f"a table of quantised numbers (tag {tag:#x})"
        raise WeightsError(
            f"{self.path}: {layer.name} is kept as {kind}: give the network in half precision or float32"
        )

    def _floats(self, count: int, layer: GraphLayer) -> Tensor:
        return self._sound(np.frombuffer(self._take(4 * count, layer), "<f4").astype(np.float32), layer)

    def _sound(self, found: np.ndarray, layer: GraphLayer) -> Tensor:
        if not np.isfinite(found).all():
            raise WeightsError(f"{self.path}: {layer.name} has numbers that are not finite: the file is damaged")
        return torch.from_numpy(found)

    def _take(self, length: int, layer: GraphLayer) -> bytes:
        """The next bytes; it is asked whether they are there before memory is taken for them."""
        if not 0 <= length <= self.length - self.at:
            raise WeightsError(
                f"{self.path} ends within layer {layer.name}: {length} bytes are wanted, and "
                f"{self.length - self.at} are left"
            )
        with self.path.open("rb") as file:
            file.seek(self.at)
            found = file.read(length)
        if len(found) != length:
            raise WeightsError(f"{self.path} became shorter while it was read")
        self.at += length
        return found


def _length(path: Path, most: int) -> int:
    """The bytes of a regular file; raises :class:`UsageError` for anything else and for one of more than ``most``."""
    try:
        found = path.stat()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is not a file: give one")
    if found.st_size > most:
        raise WeightsError(f"{path} has {found.st_size} bytes, and at most {most} are read")
    return found.st_size
