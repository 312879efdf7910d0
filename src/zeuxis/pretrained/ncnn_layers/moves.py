"""Layers that move pixels and channels, cut them, or take means of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, pixel_shuffle, pixel_unshuffle

from zeuxis.errors import WeightsError
from zeuxis.nn.graph_network import Shape
from zeuxis.pretrained.ncnn_files import GraphLayer
from zeuxis.pretrained.ncnn_layers.parts import Computed, Function, Numbers, Shapes, chosen, must_take, refusal
from zeuxis.pretrained.ncnn_numbers import OF_INPUT

BORDERS = {0: "constant", 1: "replicate", 2: "reflect"}
MEANS: Mapping[int, Callable[[Tensor], Tensor]] = {
    0: lambda x: x.amax((2, 3), keepdim=True),
    1: lambda x: x.mean((2, 3), keepdim=True),
}
POOLS: Mapping[int, Callable[..., nn.Module]] = {0: nn.MaxPool2d, 1: nn.AvgPool2d}
RESIZED = {1: "nearest", 2: "bilinear", 3: "bicubic"}
SEEN = {"nearest": 1, "bilinear": 1, "bicubic": 2}  # pixels to either side
FACTORS = {k: k for k in range(1, 17)}


def _channels(layer: GraphLayer, key: int) -> None:
    """Raise :class:`WeightsError` unless the axis under ``key`` is that of the channels."""
    if layer.whole(key) not in (0, -3):
        raise refusal(layer, f"goes along axis {layer.whole(key)}")


def concat(layer: GraphLayer, numbers: Numbers) -> Computed:
    """Of channels alone."""
    _channels(layer, 0)

    def shapes(*given: Shape) -> Shapes:
        if not given or len({one[1:] for one in given}) > 1:
            raise WeightsError("their sides differ")
        return ((sum(one[0] for one in given), *given[0][1:]),)

    return Computed(Function(lambda *parts: torch.cat(parts, 1)), shapes)


def slices(layer: GraphLayer, numbers: Numbers) -> Computed:
    """Channels shared out; a size of :data:`OF_INPUT` is an even share of those that are left."""
    _channels(layer, 1)
    sizes = [int(size) for size in layer.reals(0)]
    if len(sizes) != len(layer.outputs) or any(size < 1 and size != OF_INPUT for size in sizes):
        raise refusal(layer, f"cuts {sizes} for {len(layer.outputs)} values")

    def shares(deep: int) -> list[int]:
        found: list[int] = []
        for k, size in enumerate(sizes):
            found.append((deep - sum(found)) // (len(sizes) - k) if size == OF_INPUT else size)
        return found

    def shapes(given: Shape) -> Shapes:
        found = shares(given[0])
        if min(found) < 1 or sum(found) != given[0]:
            raise WeightsError(f"it cuts {found} channels")
        return tuple((share, *given[1:]) for share in found)

    return Computed(Function(lambda x: x.split(shares(x.shape[1]), 1)), shapes)


Span = tuple[int, int]  # the first, and how many


def _cut(spans: Callable[..., tuple[Span, Span, Span]]) -> Computed:
    """Of the first value what lies in spans of channels, rows and columns, which follow from the shapes."""

    def shapes(*given: Shape) -> Shapes:
        found = spans(*given)
        for (first, many), side in zip(found, given[0], strict=True):
            if first < 0 or many < 1 or first + many > side:
                raise WeightsError(f"it cuts {many} from {first} on, of {side}")
        deep, high, wide = (many for _, many in found)
        return ((deep, high, wide),)

    def cut(*given: Tensor) -> Tensor:
        x = given[0]
        for k, span in enumerate(spans(*(tuple(one.shape[1:]) for one in given)), 1):
            x = x.narrow(k, *span)
        return x

    return Computed(Function(cut), shapes)


def crop(layer: GraphLayer, numbers: Numbers) -> Computed:
    """To the size of another value, or from some places to others along axes."""
    if len(layer.inputs) == 2:
        columns, rows, channels = (layer.whole(key) for key in (0, 1, 2))

        def to_other(_given: Shape, other: Shape) -> tuple[Span, Span, Span]:
            return (channels, other[0]), (rows, other[1]), (columns, other[2])

        return _cut(to_other)
    must_take(layer, 1)
    starts, ends, axes = ([int(value) for value in layer.reals(key)] for key in (9, 10, 11))
    if not starts or not len(starts) == len(ends) == len(axes) or not all(-3 <= axis <= 2 for axis in axes):
        raise refusal(layer, f"cuts from {starts} to {ends} along {axes}")

    def between(given: Shape) -> tuple[Span, Span, Span]:
        found = [(0, side) for side in given]
        for axis, start, end in zip(axes, starts, ends, strict=True):
            side = given[axis]
            first = 0 if start == OF_INPUT else start if start >= 0 else side + start
            last = side if end == OF_INPUT else min(side, end) if end > 0 else side + end
            found[axis] = (first, last - first)
        return found[0], found[1], found[2]

    return _cut(between)


def padding(layer: GraphLayer, numbers: Numbers) -> Computed:
    """By a number, the border or its mirror image."""
    top, bottom, left, right = (layer.whole(key) for key in range(4))
    mode, value = chosen(layer, 4, BORDERS, "the border"), layer.real(5)
    if min(top, bottom, left, right) < 0:
        raise refusal(layer, f"fills up its border by {(top, bottom, left, right)}")

    def shapes(given: Shape) -> Shapes:
        return ((given[0], given[1] + top + bottom, given[2] + left + right),)

    border = (left, right, top, bottom)
    return Computed(Function(lambda x: pad(x, border, mode, value if mode == "constant" else None)), shapes)


def pooling(layer: GraphLayer, numbers: Numbers) -> Computed:
    """The largest or the mean, of the whole picture or of squares."""
    if layer.whole(4):
        whole = chosen(layer, 0, MEANS, "the mean")
        shape = Function(whole), lambda given: ((given[0], 1, 1),)
        return Computed(*shape, grows=Fraction(0), mean=whole is MEANS[1])
    make = chosen(layer, 0, POOLS, "the mean")
    wide, across = layer.whole(1), layer.whole(2, 1)
    size = (layer.whole(11, wide), wide)
    borders = [layer.whole(key) for key in (3, 13, 14, 15)]
    if any(borders) or layer.whole(5) != 1 or min(*size, across) < 1 or layer.whole(12, across) != across:
        raise refusal(layer, f"goes over {size} pixels by steps of {across} with borders or up to the end")

    def shapes(given: Shape) -> Shapes:
        high, wide = ((side - k) // across + 1 for side, k in zip(given[1:], size, strict=True))
        if min(high, wide) < 1:
            raise WeightsError("that is less than its squares")
        return ((given[0], high, wide),)

    return Computed(make(size, across), shapes, -(-(max(size) - 1) // 2), Fraction(1, across))


def resize(layer: GraphLayer, numbers: Numbers) -> Computed:
    """By a factor, the same for rows and columns."""
    mode, factor = chosen(layer, 0, RESIZED, "the kernel"), layer.real(1, 1.0)
    must_take(layer, 1)
    if layer.real(2, 1.0) != factor or factor <= 0:
        raise refusal(layer, f"resizes by {factor:g} and {layer.real(2, 1.0):g}")
    corners = None if mode == "nearest" else bool(layer.whole(6))

    def shapes(given: Shape) -> Shapes:
        high, wide = (int(side * factor) for side in given[1:])
        if min(high, wide) < 1:
            raise WeightsError(f"it makes it {factor:g} times as large")
        return ((given[0], high, wide),)

    def resized(x: Tensor) -> Tensor:
        return interpolate(x, [int(side * factor) for side in x.shape[2:]], mode=mode, align_corners=corners)

    return Computed(Function(resized), shapes, SEEN[mode], Fraction(factor).limit_denominator(64))


def shuffle(layer: GraphLayer, numbers: Numbers) -> Computed:
    """Channels become the pixels of squares."""
    times = chosen(layer, 0, FACTORS, "the factor", 1)

    def by_pixel(x: Tensor) -> Tensor:
        """Those of the first pixel of a square lie together, then those of the second."""
        return pixel_shuffle(x.unflatten(1, (times**2, -1)).transpose(1, 2).flatten(1, 2), times)

    def shapes(given: Shape) -> Shapes:
        deep, rest = divmod(given[0], times**2)
        if rest:
            raise WeightsError(f"it makes squares of {times} pixels of channels")
        return ((deep, given[1] * times, given[2] * times),)

    ways = {0: nn.PixelShuffle(times), 1: Function(by_pixel)}
    return Computed(chosen(layer, 1, ways, "the order"), shapes, grows=Fraction(times))


def unshuffle(layer: GraphLayer, numbers: Numbers) -> Computed:
    """The pixels of squares become channels."""
    times = chosen(layer, 0, FACTORS, "the factor", 1)

    def by_pixel(x: Tensor) -> Tensor:
        return pixel_unshuffle(x, times).unflatten(1, (-1, times**2)).transpose(1, 2).flatten(1, 2)

    def shapes(given: Shape) -> Shapes:
        (high, down), (wide, across) = (divmod(side, times) for side in given[1:])
        if down or across:
            raise WeightsError(f"it makes channels of squares of {times} pixels")
        return ((given[0] * times**2, high, wide),)

    ways = {0: nn.PixelUnshuffle(times), 1: Function(by_pixel)}
    return Computed(chosen(layer, 1, ways, "the order"), shapes, times - 1, Fraction(1, times))
