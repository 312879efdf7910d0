"""The numbers of a network in ncnn's two files (``.bin``), read by us.

The numbers of all layers lie one behind another in the order of the graph, each layer as :data:`HELD` says of its kind.
A weight begins with a tag of four bytes that says how it is kept: 0 is float32, :data:`HALF` half precision (filled up
to a multiple of four bytes). Tables of quantised weights and whole numbers are refused by name, and so is every kind of
layer of which it is not known here what it holds.

Files come from anywhere. Sizes are compared with the file's length before anything is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zeuxis.errors import WeightsError
from zeuxis.pretrained.ncnn_files import GraphLayer, length_of, read_graph

FLOAT, HALF, EIGHT, RAW = 0, 0x01306B47, 0x000D4B38, 0x0002C056
MOST_BYTES = 4 << 30
OF_INPUT = -233  # in place of a count: what comes to the layer has it


@dataclass(frozen=True)
class NcnnNetwork:
    """A graph and the numbers of its layers (``weight``, ``bias``, ``slope``, ...), by the layer's name."""

    layers: tuple[GraphLayer, ...]
    tensors: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class HeldNumbers:
    """Some numbers of a layer: what they are, their shape, and whether a tag before them says how they are kept."""

    part: str
    shape: tuple[int, ...]
    tagged: bool = False


def read_network(graph: Path, numbers: Path) -> NcnnNetwork:
    """The network in two files.

    Raises :class:`UsageError` where one is no file, :class:`WeightsError` where it is damaged, of another form, or does
    not hold as many numbers as the graph says.
    """
    layers = read_graph(graph)
    length = length_of(numbers, MOST_BYTES)
    reader = _Numbers(numbers, length)
    tensors = {layer.name: found for layer in layers if (found := reader.of(layer))}
    if reader.at != length:
        raise WeightsError(f"{numbers} holds {length - reader.at} bytes more than {graph.name} has layers for")
    return NcnnNetwork(layers, tensors)


# -- what each kind of layer holds ----------------------------------------------------------------------


def _nothing(layer: GraphLayer) -> Sequence[HeldNumbers]:
    return ()


def _convolution(layer: GraphLayer) -> Sequence[HeldNumbers]:
    """Kernels ``(out, in / groups, h, w)``, transposed ones too, and biases."""
    out, wide, count = layer.whole(0), layer.whole(1), layer.whole(6)
    high = layer.whole(11, wide)
    each = out * wide * high
    if min(out, wide, high, count) < 1 or count % each:
        raise WeightsError(f"layer {layer.name} has {count} weights, for {out} kernels of {wide}x{high}")
    weight = HeldNumbers("weight", (out, count // each, high, wide), tagged=True)
    return (weight, *_biases(layer, 5, out))


def _inner_product(layer: GraphLayer) -> Sequence[HeldNumbers]:
    out, count = layer.whole(0), layer.whole(2)
    if min(out, count) < 1 or count % out:
        raise WeightsError(f"layer {layer.name} has {count} weights, for {out} sums")
    return (HeldNumbers("weight", (out, count // out), tagged=True), *_biases(layer, 1, out))


def _biases(layer: GraphLayer, key: int, out: int) -> Sequence[HeldNumbers]:
    if layer.whole(8):
        raise WeightsError(f"layer {layer.name} is quantised to whole numbers: give the network in half precision")
    return (HeldNumbers("bias", (out,)),) if layer.whole(key) else ()


def _slopes(layer: GraphLayer) -> Sequence[HeldNumbers]:
    return (HeldNumbers("slope", (layer.whole(0),)),)


def _scale(layer: GraphLayer) -> Sequence[HeldNumbers]:
    if layer.whole(0) == OF_INPUT:
        return ()
    return (HeldNumbers("weight", (layer.whole(0),)), *_biases(layer, 1, layer.whole(0)))


def _batch_norm(layer: GraphLayer) -> Sequence[HeldNumbers]:
    return [HeldNumbers(part, (layer.whole(0),)) for part in ("weight", "mean", "variance", "bias")]


def _constant(layer: GraphLayer) -> Sequence[HeldNumbers]:
    """Channels, rows, columns, where they are said."""
    sides = (layer.whole(2), layer.whole(1), layer.whole(0))
    return (HeldNumbers("value", tuple(side for side in sides if side), tagged=layer.whole(21, 1) == 0),)


HELD: Mapping[str, Callable[[GraphLayer], Sequence[HeldNumbers]]] = {
    "BatchNorm": _batch_norm,
    "Convolution": _convolution,
    "ConvolutionDepthWise": _convolution,
    "Deconvolution": _convolution,
    "DeconvolutionDepthWise": _convolution,
    "InnerProduct": _inner_product,
    "MemoryData": _constant,
    "PReLU": _slopes,
    "Scale": _scale,
    **dict.fromkeys(
        ("BinaryOp", "Clip", "Concat", "Crop", "Dropout", "ELU", "Eltwise", "GELU", "HardSigmoid", "HardSwish",
         "Input", "Interp", "Mish", "Noop", "Padding", "PixelShuffle", "Pooling", "ReLU", "Reorg", "Sigmoid", "Slice",
         "Split", "Swish", "TanH"),
        _nothing,
    ),
}  # fmt: skip


# -- reading --------------------------------------------------------------------------------------------


class _Numbers:
    """Reads a ``.bin`` file from its beginning, layer by layer."""

    def __init__(self, path: Path, length: int) -> None:
        self.path, self.length, self.at = path, length, 0

    def of(self, layer: GraphLayer) -> dict[str, Tensor]:
        """What the file holds of ``layer``; nothing of kinds without numbers."""
        if layer.kind not in HELD:
            raise WeightsError(
                f"{self.path}: layer {layer.name} is a {layer.kind[:40]}, a kind of layer that is not known here"
            )
        try:
            held = HELD[layer.kind](layer)
        except WeightsError as error:
            raise WeightsError(f"{self.path}: {error}") from None
        return {one.part: self._read(one, layer).reshape(one.shape) for one in held}

    def _read(self, held: HeldNumbers, layer: GraphLayer) -> Tensor:
        if not held.shape or min(held.shape) < 1:
            raise WeightsError(f"{self.path}: layer {layer.name} has a {held.part} of {held.shape or 'no'} numbers")
        count = math.prod(held.shape)
        return self._tagged(count, layer) if held.tagged else self._floats(count, layer)

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
