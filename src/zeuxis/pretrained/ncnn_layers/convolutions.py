"""Convolutions, transposed ones, and sums over all channels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor, nn

from zeuxis.errors import WeightsError
from zeuxis.nn.graph_network import Shape
from zeuxis.pretrained.ncnn_files import GraphLayer
from zeuxis.pretrained.ncnn_layers.activations import activated
from zeuxis.pretrained.ncnn_layers.parts import Computed, Numbers, Shapes, filled, refusal


@dataclass(frozen=True)
class KernelWindow:
    """What goes over a picture: each pair is of rows and of columns, each pair of pairs of both sides."""

    size: tuple[int, int]
    stride: int
    dilation: tuple[int, int]
    rows: tuple[int, int]  # that are filled up above and below
    columns: tuple[int, int]

    @property
    def spread(self) -> tuple[int, int]:
        """From the first to the last pixel under it."""
        down, across = (d * (k - 1) for d, k in zip(self.dilation, self.size, strict=True))
        return down, across

    @property
    def even(self) -> bool:
        """Whether both sides are filled up alike."""
        return self.rows[0] == self.rows[1] and self.columns[0] == self.columns[1]


def _window(layer: GraphLayer) -> KernelWindow:
    wide, across, apart = layer.whole(1), layer.whole(3, 1), layer.whole(2, 1)
    left = layer.whole(4)
    top = layer.whole(14, left)
    found = KernelWindow(
        (layer.whole(11, wide), wide),
        across,
        (layer.whole(12, apart), apart),
        (top, layer.whole(16, top)),
        (left, layer.whole(15, left)),
    )
    if min(*found.size, across, *found.dilation) < 1 or layer.whole(13, across) != across:
        raise refusal(layer, f"goes over {found.size} pixels by steps of {layer.whole(13, across)} and {across}")
    if min(*found.rows, *found.columns) < 0:
        raise refusal(layer, f"fills up its border by {found.rows} and {found.columns}")
    return found


def _groups(layer: GraphLayer, out: int) -> int:
    groups = layer.whole(7, 1)
    if groups < 1 or out % groups:
        raise refusal(layer, f"has {out} channels in {groups} groups")
    return groups


def _check(given: Shape, channels: int) -> None:
    if given[0] != channels:
        raise WeightsError(f"it takes {channels} channels")


def _sound(made: Shape) -> Shapes:
    if min(made) < 1:
        raise WeightsError("that is less than its kernel")
    return (made,)


def convolution(layer: GraphLayer, numbers: Numbers) -> Computed:
    """Numbers beside the picture are 0, or what is told (key 18)."""
    window, weight = _window(layer), numbers["weight"]  # (out, in / groups, h, w)
    out, each = weight.shape[:2]
    groups = _groups(layer, out)
    even = window.even and not layer.real(18)
    module = filled(
        weight,
        numbers.get("bias"),
        lambda bias: nn.Conv2d(
            each * groups,
            out,
            window.size,
            stride=window.stride,
            padding=(window.rows[0], window.columns[0]) if even else 0,
            dilation=window.dilation,
            groups=groups,
            bias=bias,
        ),
    )
    if not even:
        module = nn.Sequential(nn.ConstantPad2d((*window.columns, *window.rows), layer.real(18)), module)

    def shapes(given: Shape) -> Shapes:
        _check(given, each * groups)
        high = (given[1] + sum(window.rows) - window.spread[0] - 1) // window.stride + 1
        wide = (given[2] + sum(window.columns) - window.spread[1] - 1) // window.stride + 1
        return _sound((out, high, wide))

    return Computed(activated(layer, module), shapes, -(-max(window.spread) // 2), Fraction(1, window.stride))


def deconvolution(layer: GraphLayer, numbers: Numbers) -> Computed:
    """What is filled up by a convolution is cut off by this."""
    window, weight = _window(layer), numbers["weight"]  # (out, in / groups, h, w)
    out, each = weight.shape[:2]
    groups, stride = _groups(layer, out), window.stride
    more = (layer.whole(19, layer.whole(18)), layer.whole(18))  # rows below, columns at the right
    if not window.even or not 0 <= min(more) <= max(more) < stride:
        raise refusal(layer, f"cuts off {window.rows} and {window.columns} and adds {more}")
    turned = weight.unflatten(0, (groups, out // groups)).transpose(1, 2).flatten(0, 1)  # (in, out / groups, h, w)
    module = filled(
        turned.contiguous(),
        numbers.get("bias"),
        lambda bias: nn.ConvTranspose2d(
            each * groups,
            out,
            window.size,
            stride=stride,
            padding=(window.rows[0], window.columns[0]),
            output_padding=more,
            groups=groups,
            bias=bias,
            dilation=window.dilation,
        ),
    )

    def shapes(given: Shape) -> Shapes:
        _check(given, each * groups)
        high = (given[1] - 1) * stride - sum(window.rows) + window.spread[0] + 1 + more[0]
        wide = (given[2] - 1) * stride - sum(window.columns) + window.spread[1] + 1 + more[1]
        return _sound((out, high, wide))

    beyond = max(0, *(spread + 1 - stride for spread in window.spread))  # of the square that one pixel becomes
    return Computed(activated(layer, module), shapes, -(-beyond // (2 * stride)), Fraction(stride))


def inner_product(layer: GraphLayer, numbers: Numbers) -> Computed:
    """Of what belongs to the picture as a whole, ``(B, C, 1, 1)``, alone."""
    weight: Tensor = numbers["weight"][:, :, None, None]
    out, each = weight.shape[:2]

    def shapes(given: Shape) -> Shapes:
        if given != (each, 1, 1):
            raise WeightsError(f"it sums over {each} numbers that belong to the picture as a whole")
        return ((out, 1, 1),)

    sums = filled(weight, numbers.get("bias"), lambda bias: nn.Conv2d(each, out, 1, bias=bias))
    return Computed(activated(layer, sums), shapes)
