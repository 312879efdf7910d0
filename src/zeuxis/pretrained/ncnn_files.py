"""The graph of a network in ncnn's two files (``.param``, text), read by us. Nothing is run.

The graph is one line for each layer: ``Kind name inputs outputs <input names> <output names> key=value ...``, after a
line with the magic number and one with how many layers and how many names there are. A key below -23300 is an array:
``-23310=2,0.1,0.2`` is key 10 with two values.

Files come from anywhere: every count is bounded. Their numbers are read by :mod:`zeuxis.pretrained.ncnn_numbers`.
"""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zeuxis.errors import UsageError, WeightsError

MAGIC = "7767517"
MOST_TEXT = 8 << 20  # bytes of a graph
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

    def real(self, key: int, default: float = 0.0) -> float:
        """The number under ``key``; raises :class:`WeightsError` where an array is."""
        found = self.facts.get(key, default)
        if isinstance(found, tuple):
            raise WeightsError(f"layer {self.name} has {len(found)} numbers as {key}, where one stands")
        return float(found)

    def reals(self, key: int) -> tuple[float, ...]:
        """The array under ``key``, empty without one."""
        found = self.facts.get(key, ())
        return tuple(map(float, found)) if isinstance(found, tuple) else (float(found),)


def read_graph(path: Path) -> tuple[GraphLayer, ...]:
    """The layers of a ``.param`` file, in its order.

    Raises :class:`UsageError` where it is no file, :class:`WeightsError` where it is damaged or of another form.
    """
    length_of(path, MOST_TEXT)
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


def length_of(path: Path, most: int) -> int:
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
