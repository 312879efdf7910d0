"""Layers that change each number by itself, and the activations that convolutions are told to have."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch import nn

from zeuxis.pretrained.ncnn_files import GraphLayer
from zeuxis.pretrained.ncnn_layers.parts import (
    Compute,
    Computed,
    Function,
    Numbers,
    chosen,
    filled,
    of_channels,
    refusal,
)


def plain(module: nn.Module) -> Compute:
    """A kind without settings."""
    return lambda layer, numbers: Computed(module)


def hard_sigmoid(alpha: float, beta: float) -> nn.Module:
    """``alpha x + beta`` between 0 and 1."""
    return Function(lambda x: (alpha * x + beta).clamp(0, 1))


def hard_swish(alpha: float, beta: float) -> nn.Module:
    """``x`` times the hard sigmoid."""
    return Function(lambda x: x * (alpha * x + beta).clamp(0, 1))


def clip(low: float, high: float) -> nn.Module:
    """``x`` between two bounds."""
    return Function(lambda x: x.clamp(low, high))


FUSED: Mapping[int, tuple[int, Callable[..., nn.Module]]] = {  # how many numbers each has
    0: (0, nn.Identity),
    1: (0, nn.ReLU),
    2: (1, nn.LeakyReLU),
    3: (2, clip),
    4: (0, nn.Sigmoid),
    5: (0, nn.Mish),
    6: (2, hard_swish),
}


def activated(layer: GraphLayer, module: nn.Module) -> nn.Module:
    """``module`` and the activation that is told with it (keys 9 and 10)."""
    count, make = chosen(layer, 9, FUSED, "the activation")
    told = layer.reals(10)
    if len(told) < count:
        raise refusal(layer, f"has {len(told)} numbers of an activation of {count}")
    return nn.Sequential(module, make(*told[:count])) if layer.whole(9) else module


def relu(layer: GraphLayer, numbers: Numbers) -> Computed:
    """With a slope below 0, or none."""
    return Computed(nn.LeakyReLU(layer.real(0)) if layer.real(0) else nn.ReLU())


def prelu(layer: GraphLayer, numbers: Numbers) -> Computed:
    """With a slope for each channel, or one."""
    slope = numbers["slope"]
    return Computed(filled(slope, None, lambda bias: nn.PReLU(len(slope))), of_channels(len(slope)))


def bounded(layer: GraphLayer, numbers: Numbers) -> Computed:
    """Without settings there is no bound."""
    return Computed(clip(layer.real(0, -math.inf), layer.real(1, math.inf)))


def hardened(make: Callable[[float, float], nn.Module]) -> Compute:
    """A kind with a slope and an offset."""
    return lambda layer, numbers: Computed(make(layer.real(0, 0.2), layer.real(1, 0.5)))


def elu(layer: GraphLayer, numbers: Numbers) -> Computed:
    """With the bound below."""
    return Computed(nn.ELU(layer.real(0, 0.1)))


def gelu(layer: GraphLayer, numbers: Numbers) -> Computed:
    """Exactly, or by a tanh."""
    return Computed(nn.GELU(approximate="tanh" if layer.whole(0) else "none"))
