"""Layers that put values together number by number, and constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import reduce

import torch
from torch import Tensor, nn

from zeuxis.pretrained.ncnn_files import GraphLayer
from zeuxis.pretrained.ncnn_layers.parts import Computed, Function, Numbers, chosen, must_take, of_channels, refusal
from zeuxis.pretrained.ncnn_numbers import OF_INPUT

BINARY: Mapping[int, Callable[[Tensor, Tensor], Tensor]] = {
    0: torch.add,
    1: torch.sub,
    2: torch.mul,
    3: torch.div,
    4: torch.maximum,
    5: torch.minimum,
    6: torch.pow,
    7: lambda a, b: b - a,
    8: lambda a, b: b / a,
    9: lambda a, b: torch.pow(b, a),
}
ELEMENTWISE: Mapping[int, Callable[[Tensor, Tensor], Tensor]] = {0: torch.mul, 1: torch.add, 2: torch.maximum}


class Affine(nn.Module):
    """``weight x + bias``, a number for each channel."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.view(1, -1, 1, 1))
        self.register_buffer("bias", bias.view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.get_buffer("weight") + self.get_buffer("bias")


class Constant(nn.Module):
    """A value that stands in the file, whatever is given."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self) -> Tensor:
        return self.get_buffer("value")


def binary(layer: GraphLayer, numbers: Numbers) -> Computed:
    """Of two values, or of one and a number."""
    operation = chosen(layer, 0, BINARY, "the operation")
    if not layer.whole(1):
        must_take(layer, 2)
        return Computed(Function(operation))
    must_take(layer, 1)
    number = layer.real(2)
    return Computed(Function(lambda x: operation(x, x.new_tensor(number))))


def elementwise(layer: GraphLayer, numbers: Numbers) -> Computed:
    """Of two values or more; sums may weigh them."""
    operation, shares = chosen(layer, 0, ELEMENTWISE, "the operation"), layer.reals(1)
    if len(layer.inputs) < 2 or (shares and (len(shares) != len(layer.inputs) or layer.whole(0) != 1)):
        raise refusal(layer, f"takes {len(layer.inputs)} values with {len(shares)} shares")

    def combined(*terms: Tensor) -> Tensor:
        weighed = [share * term for share, term in zip(shares, terms, strict=True)] if shares else terms
        return reduce(operation, weighed)

    return Computed(Function(combined))


def scale(layer: GraphLayer, numbers: Numbers) -> Computed:
    """By numbers of its own, or by those that come to it."""
    if layer.whole(0) == OF_INPUT:
        must_take(layer, 2)
        if layer.whole(1):
            raise refusal(layer, "is told its factors and has biases")
        return Computed(Function(torch.mul))
    weight = numbers["weight"]
    return Computed(Affine(weight, numbers.get("bias", torch.zeros_like(weight))), of_channels(len(weight)))


def batch_norm(layer: GraphLayer, numbers: Numbers) -> Computed:
    """By the mean and variance that were learnt."""
    share = numbers["weight"] / (numbers["variance"] + layer.real(1)).sqrt()
    return Computed(Affine(share, numbers["bias"] - share * numbers["mean"]), of_channels(len(share)))


def constant(layer: GraphLayer, numbers: Numbers) -> Computed:
    """A vector has a number for each channel."""
    value = numbers["value"]
    if value.ndim == 2:
        raise refusal(layer, "has rows and columns without channels")
    whole = value.view(1, -1, 1, 1) if value.ndim == 1 else value[None]
    _, deep, high, wide = whole.shape
    return Computed(Constant(whole), lambda: ((deep, high, wide),), grows=Fraction(0))
